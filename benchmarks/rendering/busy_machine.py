"""Seconds of a training step while busy programs share the cores, with the default and with less spinning."""

from __future__ import annotations

from rendering.cells import hardware, load, markdown

SETTINGS = {"limited": "firstlight's limit on spinning", "default": "OpenMP's default"}


def busy() -> str:
    """A row for each number of busy programs: seconds of a step, and how many times those of a step alone."""
    found = load("busy")
    rows: dict[int, list[str]] = {}
    for setting in SETTINGS:
        for each in found["results"]["rows"]:
            if each["spinning"] == setting:
                cells = [f"{each['step_s']['median']:.2f}", f"{each['times_alone']:.1f}"]
                rows.setdefault(each["num_busy"], [str(each["num_busy"])]).extend(cells)
    header = " | ".join(f"seconds with {name} | times alone" for name in SETTINGS.values())
    turns = found["results"]["rows"][0]["step_s"]["n"]
    table = markdown(f"busy programs | {header}", "rrrrr", list(rows.values()))
    return f"{table}\n\nMedians of {turns} turns, on {hardware(found)}."
