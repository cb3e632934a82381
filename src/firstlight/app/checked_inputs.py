"""Checked inputs: widgets that answer values of another type or range with one sentence.

A request may hold any JSON for a widget. Gradio would pass it on, or fail with a traceback and the answer `null`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from typing import Any

import gradio as gr
from pydantic import ValidationError

MAX_NAMED = 12  # choices that a message lists
MAX_NUMBER = 1e9  # of a widget without a maximum
_PLAIN = (str, int, float)


def check_inputs(page: gr.Blocks) -> None:
    """Let every slider, number, checkbox, dropdown and text box of a page check the values that it is given."""
    blocks: list[Any] = list(page.blocks.values())
    for block in blocks:
        problem = _problem_of(block)
        if problem is not None:
            block.preprocess = _checked(block, block.preprocess, problem)
    _check_request(page)


def _check_request(page: Any) -> None:
    """Check the number of values of a request, and what Gradio would parse before a widget sees it."""
    validate = page.validate_inputs

    def checked(block_fn: Any, inputs: Any) -> None:
        try:
            validate(block_fn, inputs)
        except ValueError as error:
            line = f"the request must have {len(block_fn.inputs)} values, not {len(inputs)}"
            raise gr.Error(line, print_exception=False) from error
        for block, value in zip(block_fn.inputs, inputs, strict=False):  # Gradio ignores values too many
            if isinstance(block, gr.Image) and not is_picture(block, value):
                line = f"{block.label or 'the picture'} must be an uploaded picture, not {reprlib.repr(value)}"
                raise gr.Error(line, print_exception=False)

    page.validate_inputs = checked


def is_picture(block: gr.Image, value: Any) -> bool:
    """Return whether a value describes an uploaded picture, or none.

    Args:
        block: Widget that the value is for.
        value: Any JSON.
    """
    try:
        if value is not None:
            block.data_model.model_validate(value)
    except ValidationError:
        return False
    return True


def _checked(
    block: Any, preprocess: Callable[[Any], Any], problem: Callable[[Any], str | None]
) -> Callable[[Any], Any]:
    def checked(payload: Any) -> Any:
        expected = problem(payload)
        if expected is not None:
            line = f"{block.label or 'the value'} must be {expected}, not {reprlib.repr(payload)}"
            raise gr.Error(line, print_exception=False)
        return preprocess(payload)

    return checked


def _problem_of(block: Any) -> Callable[[Any], str | None] | None:
    """Return a function that says what a widget expects, or None if a value is right; None for other blocks."""
    if isinstance(block, gr.Slider | gr.Number):
        low, high = block.minimum, block.maximum
        return lambda value: number_problem(
            value, -MAX_NUMBER if low is None else low, MAX_NUMBER if high is None else high
        )
    if isinstance(block, gr.Checkbox):
        return lambda value: None if isinstance(value, bool) else "true or false"
    if isinstance(block, gr.Dropdown):
        return lambda value: choice_problem(value, [each for _, each in block.choices])
    if isinstance(block, gr.Textbox):
        return lambda value: None if value is None or isinstance(value, str) else "text"
    return None


def number_problem(value: Any, low: int | float, high: int | float) -> str | None:
    """Return what is expected instead of a value; None if it is a number in the range.

    >>> number_problem("many", 1, 10), number_problem(True, 1, 10), number_problem(3, 1, 10)
    ('a number from 1 to 10', 'a number from 1 to 10', None)
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and math.isfinite(value) and low <= value <= high else f"a number from {low:g} to {high:g}"


def choice_problem(value: Any, choices: list[Any]) -> str | None:
    """Return what is expected instead of a value; None if it is one of the choices.

    >>> choice_problem("pink", ["red", "blue"]), choice_problem("red", ["red", "blue"])
    ('one of red, blue', None)
    """
    if isinstance(value, _PLAIN) and value in choices:
        return None
    return f"one of {', '.join(map(str, choices[:MAX_NAMED]))}{', ...' if len(choices) > MAX_NAMED else ''}"
