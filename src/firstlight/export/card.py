"""The model card: what the model is, how it was measured, where it stops being of use."""

from __future__ import annotations

from typing import Any

import yaml

from firstlight.export.bundle import VIEWS, Bundle
from firstlight.files import write_atomic

CARD_NAME = "README.md"
HUB_NAMES = {"cifar10": "uoft-cs/cifar10"}  # of data sets that the hub knows

CARD = """\
# {title}

{network} with {parameters} parameters, trained with firstlight's recipe `{recipe}` for {epochs} epochs on {data} to
tell {num_classes} classes apart: {classes}. {held_out} of the training images were held out for validation. It takes
RGB images of {height}x{width} pixels; `predict` cuts and shrinks any picture to that.

```python
import firstlight

model = firstlight.Pretrained.from_pretrained("PATH-OR-NAME")  # this folder, or its name on the hub
model.predict("photo.jpg").top(3)
```

## What it reaches

Measured on the {num_test} images of the official test split with the half-precision weights in this folder.

| views | accuracy |
|---|---:|
| one | {single_view} |
| {views} | {averaged} |

{num_wrong} images are wrong at one view. By class, at one view:

| class | accuracy | most often taken for |
|---|---:|---|
{by_class}

## How far to believe its probabilities

Logits are divided by {temperature} before the softmax (temperature scaling, Guo et al. 2017), fitted on {num_val}
validation images {untrained}.
On the test split this takes the expected calibration error (15 bins) from {error_before} to {error_after}.

## Pictures that it knows nothing of

Every picture gets one of the {num_classes} classes, whatever it shows. An energy score (Liu et al. 2020) above
{threshold} marks a picture as unlike the training data. The threshold lets 95% of the validation images pass. Measured
afterwards:

| images | marked as unlike |
|---|---:|
| test split (false alarms) | {false_alarms} |
{detected}

A photograph of something else may well pass: the check finds what excites no class, not what is of no class.

## Limits

It was trained on small, centred pictures of one object each. Expect less from other framings, drawings, and photographs
from other times and places than its test accuracy says. It is made to teach and to compare, not to decide anything
about people.

## How it was made

{recipe_lines}

Trained {date} with {versions} on {hardware}, commit {commit}. `measured.json` holds every number of this card.
"""


def write_card(bundle: Bundle) -> None:
    """Write a bundle's `README.md`, with the front matter that hubs read."""
    write_atomic(bundle.path / CARD_NAME, f"---\n{_front_matter(bundle)}---\n\n{card_text(bundle)}")


def card_text(bundle: Bundle) -> str:
    """Return the card without its front matter."""
    measured, config = bundle.measured, bundle.config
    test, calibration, novelty = (measured[name] for name in ("test", "calibration", "novelty"))
    training = measured["training"]
    return CARD.format(
        title=bundle.title,
        network=type(bundle.network).__name__,
        parameters=f"{sum(each.numel() for each in bundle.network.parameters()):,}",
        recipe=config.recipe.get("name", "unknown"),
        data=bundle.data_name,
        epochs=config.recipe.get("max_epochs", "some"),
        held_out=f"{config.recipe['num_val']:,}" if config.recipe.get("num_val") else "None",
        num_classes=len(config.class_names),
        classes=", ".join(config.class_names),
        height=config.size_px[0],
        width=config.size_px[1],
        num_test=f"{test['num_images']:,}",
        single_view=f"{test['single_view']:.2%}",
        views=VIEWS[test["views"]],
        averaged=f"{test['averaged']:.2%}",
        num_wrong=f"{test['num_wrong']:,}",
        by_class=_by_class(config.class_names, measured["confusion"]),
        temperature=f"{calibration['temperature']:.3f}",
        num_val=f"{calibration['num_validation_images']:,}",
        untrained=_untrained(calibration.get("other_recipe")),
        error_before=f"{calibration['error_before']:.3f}",
        error_after=f"{calibration['error_after']:.3f}",
        threshold=f"{novelty['threshold']:.2f}",
        false_alarms=f"{novelty['false_alarms']:.1%}",
        detected=detected_rows(novelty),
        recipe_lines=_recipe_lines(config.recipe),
        date=(training.get("date") or "at an unknown time")[:10],
        versions=_versions(training.get("versions") or {}),
        hardware=_hardware(training.get("hardware") or {}),
        commit=(training.get("commit") or "unknown")[:12],
    )


def _untrained(lender: dict[str, Any] | None) -> str:
    """Say whose validation images they were: this training's, or another's, given by its recipe."""
    if lender is None:
        return "that were not trained on"
    by = f"{lender['max_epochs']} epochs by recipe `{lender['name']}`"
    return f"that another training, of {by}, had not seen,\nby its logits, since this one saw all"


def detected_rows(novelty: dict[str, Any]) -> str:
    """Return a table row for each kind of unfamiliar image."""
    return "\n".join(
        f"| {kind}, {novelty['num_images'][kind]} | {share:.1%} |" for kind, share in novelty["detected"].items()
    )


def _front_matter(bundle: Bundle) -> str:
    test, name = bundle.measured["test"], str(bundle.measured["data"])
    data = {"type": HUB_NAMES.get(name, name), "name": bundle.data_name, "split": "test"}
    metrics = [
        {"type": "accuracy", "value": round(test[views], 4), "name": f"accuracy, {shown}"}
        for views, shown in (("single_view", "single view"), ("averaged", VIEWS[test["views"]]))
    ]
    result = {"task": {"type": "image-classification"}, "dataset": data, "metrics": metrics}
    content: dict[str, Any] = {
        "license": "mit",
        "library_name": "firstlight",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "grad-cam"],
        "metrics": ["accuracy"],
        "model-index": [{"name": bundle.title, "results": [result]}],
    }
    if name in HUB_NAMES:
        content["datasets"] = [HUB_NAMES[name]]
    return yaml.safe_dump(content, sort_keys=False)


def _by_class(names: tuple[str, ...], matrix: list[list[int]]) -> str:
    lines = []
    for label, (name, row) in enumerate(zip(names, matrix, strict=True)):
        others = [(count, names[i]) for i, count in enumerate(row) if i != label and count]
        count, other = max(others, default=(0, ""))
        share = row[label] / max(sum(row), 1)
        lines.append(f"| {name} | {share:.1%} | {f'{other} ({count})' if count else ''} |")
    return "\n".join(lines)


def _recipe_lines(recipe: dict[str, Any], prefix: str = "") -> str:
    lines = []
    for name, value in recipe.items():
        lines.append(
            _recipe_lines(value, f"{prefix}{name}.") if isinstance(value, dict) else f"- `{prefix}{name}`: {value}"
        )
    return "\n".join(lines)


def _versions(versions: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "unknown versions"


def _hardware(hardware: dict[str, Any]) -> str:
    return str(hardware.get("gpu") or f"{hardware.get('cpu_cores')} cores of {hardware.get('cpu')}")
