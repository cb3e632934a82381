"""The tables of README and docs by the name that a page's `<!-- table: NAME -->` marker gives."""

from __future__ import annotations

from collections.abc import Callable

from rendering.app_speed import app
from rendering.browser_speed import browser
from rendering.busy_machine import busy
from rendering.few_images import few_images
from rendering.ingredient_values import ingredients_fast, ingredients_page
from rendering.map_quality import explain_speed, trust_cifar, trust_drawn, trust_methods
from rendering.onnx_files import onnx
from rendering.processing_speed import checkpoints, devices, speed
from rendering.recipe_accuracy import accuracy, steady_accuracy
from rendering.training_time import earlier_recipes, headline, headline_time, in_turns, on_gpu, time_to_accuracy

TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "steady_accuracy": steady_accuracy,
    "headline_time": headline_time,
    "accuracy": accuracy,
    "time_to_accuracy": time_to_accuracy,
    "in_turns": in_turns,
    "earlier_recipes": earlier_recipes,
    "on_gpu": on_gpu,
    "ingredients_page": ingredients_page,
    "ingredients_fast": ingredients_fast,
    "speed": speed,
    "checkpoints": checkpoints,
    "devices": devices,
    "explain_speed": explain_speed,
    "trust_drawn": trust_drawn,
    "trust_cifar": trust_cifar,
    "trust_methods": trust_methods,
    "app": app,
    "browser": browser,
    "onnx": onnx,
    "busy": busy,
    "few_images": few_images,
}
