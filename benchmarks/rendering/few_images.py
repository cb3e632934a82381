"""Test accuracy of the recipes on small subsets of CIFAR-10."""

from __future__ import annotations

from firstlight.recipes import get_recipe
from rendering.cells import Row, hardware_with_threads, load_lines, markdown, mean_percent

TITLES = {"small": "`small`", "adam24": "`adam24`, the default"}


def title(line: Row) -> str:
    """Return the name of a result's recipe, with the width of its network if it is not the recipe's own."""
    name, width = line["recipe"]["name"], line["recipe"]["network"]["width"]
    own = getattr(get_recipe(name).network, "width", width)
    return TITLES[name] + ("" if width == own else f" with a network of width {width}")


def few_images() -> str:
    """A row for each number of images of a class and recipe, over all subsets that were measured."""
    groups: dict[tuple[int, str], list[Row]] = {}
    lines = [line for line in load_lines("few_images") if "test_acc" in line]
    for line in lines:
        groups.setdefault((line["per_class"], title(line)), []).append(line)
    rows = [
        [
            str(per_class),
            name,
            mean_percent(found, "test_acc"),
            mean_percent(found, "test_acc_tta"),
            str(len(found)),
        ]
        for (per_class, name), found in sorted(
            groups.items(), key=lambda item: (item[0][0], item[0][1] != TITLES["small"])
        )
    ]
    header = "images of each class | recipe | test accuracy, single view | with the mirror image (tta) | n"
    machines = " and ".join(sorted({hardware_with_threads(line) for line in lines}))
    return f"{markdown(header, 'rlrrr', rows)}\n\nOn {machines}, while other programs ran."
