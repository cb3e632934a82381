"""The model card: what the model is, how it was measured, and what it cannot do."""

from __future__ import annotations

from typing import Any

import yaml

from firstlight.export.bundle import VIEWS, Bundle
from firstlight.files import write_atomic

CARD_NAME = "README.md"

CARD = """\
# {title}

{network} with {parameters} parameters, trained with firstlight's recipe `{recipe}` for {epochs} epochs on {data}. It
distinguishes {num_classes} classes: {classes}. {held_out} of the training images were held out for validation. The
input is an RGB image of {height}x{width} pixels; `predict` crops and resizes any picture to this size.

```python
import firstlight

model = firstlight.Pretrained.from_pretrained("PATH-OR-NAME")  # this folder, or its name on the hub
model.predict("photo.jpg").top(3)
```

## Accuracy

Measured on {num_test} images, {test_split}, with the half-precision weights in this folder.

| views | accuracy |
|---|---:|
| one | {single_view} |
| {views} | {averaged} |

With one view, {num_wrong} images are misclassified. Accuracy of each class with one view:

| class | accuracy | most often classified as |
|---|---:|---|
{by_class}

## Calibration of its probabilities

The logits are divided by {temperature} before the softmax (temperature scaling, Guo et al. 2017). This number was
fitted on {num_val} validation images {untrained}.
On the test images it changes the expected calibration error (15 bins) from {error_before} to {error_after}.

## Pictures unlike the training data

Every picture is assigned to one of the {num_classes} classes, whatever it shows. A picture is marked as unlike the
training data if its energy score (Liu et al. 2020) is above {threshold}, a threshold that at most 5% of new images
like the training data exceed. Measured on other images:

| images | marked as unlike the training data |
|---|---:|
| test images (false alarms) | {false_alarms} |
{detected}

The score detects pictures that activate no class. A photograph of something else may well activate one.

## Limits

{limits} The model is made for teaching and for comparisons, not for decisions about people.

## How it was made

{recipe_lines}

Trained {date} with {versions} on {hardware}, commit {commit}. `measured.json` holds every number of this card.
"""


def write_card(bundle: Bundle) -> None:
    """Write the `README.md` of a bundle, with the front matter that hubs read."""
    write_atomic(bundle.path / CARD_NAME, f"---\n{_front_matter(bundle)}---\n\n{card_text(bundle)}")


def card_text(bundle: Bundle) -> str:
    """Return the text of the card without its front matter."""
    measured, config = bundle.measured, bundle.config
    test, calibration, novelty = (measured[name] for name in ("test", "calibration", "novelty"))
    training = measured["training"]
    return CARD.format(
        title=bundle.title,
        network=type(bundle.network).__name__,
        parameters=f"{sum(each.numel() for each in bundle.network.parameters()):,}",
        recipe=config.recipe.get("name", "unknown"),
        data=bundle.data.name,
        test_split=bundle.data.test_split,
        limits=bundle.data.limits,
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
        detected=_detected_rows(novelty),
        recipe_lines=_recipe_lines(config.recipe),
        date=(training.get("date") or "at an unknown time")[:10],
        versions=_versions(training.get("versions") or {}),
        hardware=_hardware(training.get("hardware") or {}),
        commit=(training.get("commit") or "unknown")[:12],
    )


def _untrained(other_recipe: dict[str, Any] | None) -> str:
    """Describe the validation images; `other_recipe` is the recipe of the run that they belong to, if it is another."""
    if other_recipe is None:
        return "that the network was not trained on"
    run = f"another run ({other_recipe['max_epochs']} epochs by recipe `{other_recipe['name']}`)"
    return f"of {run}\nand the logits of that run, because this network was trained on all images"


def _detected_rows(novelty: dict[str, Any]) -> str:
    """Return a table row for each kind of image that is unlike the training data."""
    return "\n".join(
        f"| {kind}, {novelty['num_images'][kind]} | {share:.1%} |" for kind, share in novelty["detected"].items()
    )


def _front_matter(bundle: Bundle) -> str:
    """Return the YAML that hubs read; it names a licence only if the user has given one."""
    test, hub_name = bundle.measured["test"], bundle.data.hub_name
    data = {"type": hub_name or str(bundle.measured["data"]), "name": bundle.data.name, "split": "test"}
    metrics = [
        {"type": "accuracy", "value": round(test[views], 4), "name": f"accuracy, {shown}"}
        for views, shown in (("single_view", "single view"), ("averaged", VIEWS[test["views"]]))
    ]
    result = {"task": {"type": "image-classification"}, "dataset": data, "metrics": metrics}
    content: dict[str, Any] = {
        "library_name": "firstlight",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "grad-cam"],
        "metrics": ["accuracy"],
        "model-index": [{"name": bundle.title, "results": [result]}],
    }
    if "license" in bundle.measured:
        content = {"license": bundle.measured["license"]} | content
    if hub_name is not None:
        content["datasets"] = [hub_name]
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
