"""Write a folder with the ONNX file of a model and a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firstlight.data.source import Source
from firstlight.export.bundle import Bundle
from firstlight.export.onnx.model_file import write_onnx_model
from firstlight.export.onnx.onnx_source import OnnxSource
from firstlight.export.onnx.resample import MAX_SIDE_PX
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.verification import Verification
from firstlight.export.onnx.weight_formats import WeightsName
from firstlight.files import write_atomic
from firstlight.runs.predictor import Predictor

MODEL_NAME = "model.onnx"

EXAMPLE = """\
import json
import numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
picture = numpy.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))
options = {"target": numpy.array([-1]), "method": numpy.array(0), "stage": numpy.array(-1)}
probabilities, cam = session.run(["probabilities", "map"], {"image": picture[None], **options})
for k in probabilities[0].argsort()[:-4:-1]:
    print(f"{names[k]}: {probabilities[0, k]:.1%}")
"""

README = """\
# {title}: ONNX

`{file}` takes a picture and returns the probabilities of {num_classes} classes and a class activation map. It contains
the resizing of the picture and the network, and needs only ONNX Runtime, or ONNX Runtime Web in a browser.

```python
{example}```

`picture` is RGB, up to {max_side:,} pixels a side. Turn the decoded file upright first, as the example does, and blend
transparency with white. The graph crops the largest centred part with the proportions of {height}x{width} pixels and
resizes it with Pillow's Lanczos filter. The result, `prepared`, has the same pixels as in `firstlight predict`, with
one exception: `predict` decodes a JPEG file of at least eight times this size at a smaller size, which changes some
pixels a little.

## Inputs

| name | type | meaning |
|---|---|---|
| `image` | uint8 [n h w 3] | RGB pictures of one size |
| `target` | int64 [n] | class that the map explains, 0 to {last_class}; -1 for the predicted one |
| `method` | int64 | index of the method: {methods} |
| `stage` | int64 | index of the stage: {stages}; -1 for the last of the network |

A map at a stage before the last takes longer, because the graph then computes its gradient. The stage `all` is the mean
of the maps of all stages, each divided by its largest absolute value, at the resolution of `prepared`.

## Outputs

| name | type | meaning |
|---|---|---|
| `logits` | float32 [n {num_classes}] | before the division by the temperature, {temperature:.3f} |
| `probabilities` | float32 [n {num_classes}] | calibrated |
| `map` | float32 [n h' w'] | in units of the logit, at the stage's resolution; positive values are evidence |
| `features` | float32 [n {num_features}] | input of the linear head |
| `prepared` | uint8 [n {height} {width} 3] | the picture as the network sees it |
{novelty}
The metadata of the file contains, as JSON or text: {facts}.

## Check

The weights are stored in {weights}. The file was {verification}.
`verified` in the metadata has the numbers for each stage. HiResCAM's maps may differ more for single images: if the two
largest values in a pooling window are equal up to rounding, either may get the gradient.
{accuracy}"""

NOVELTY = "| `is_novel` | bool [n] | whether the picture is unlike the training data |\n"


def write_onnx(
    model: Bundle | OnnxSource,
    folder: Path,
    weights: WeightsName = "float32",
    *,
    data: Source | None = None,
    licence: str | None = None,
) -> Verification:
    """Write `model.onnx` and `README.md`.

    Args:
        model: Model to write.
        folder: Folder to write to; created if it does not exist.
        weights: See `write_onnx_model`.
        data: See `write_onnx_model`.
        licence: Identifier of the licence that the user gives the weights; None keeps the bundle's.

    Returns:
        The result of the comparison with PyTorch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    verification = write_onnx_model(model, folder / MODEL_NAME, weights, data=data, licence=licence)
    facts = OnnxModel(str(folder / MODEL_NAME)).metadata
    described = model.model if isinstance(model, OnnxSource) else model
    write_atomic(folder / "README.md", _readme(described, facts, verification))
    return verification


def _readme(model: Predictor, facts: dict[str, Any], verification: Verification) -> str:
    num_classes, num_features = model.network.head.weight.shape
    height, width = model.size_px
    return README.format(
        title=facts["title"],
        file=MODEL_NAME,
        example=EXAMPLE,
        num_classes=num_classes,
        last_class=num_classes - 1,
        num_features=num_features,
        height=height,
        width=width,
        max_side=MAX_SIDE_PX,
        methods=_numbered(facts["methods"]),
        stages=_numbered(facts["stages"]),
        temperature=model.temperature,
        novelty="" if model.novelty_threshold is None else NOVELTY,
        facts=", ".join(f"`{name}`" for name in sorted(facts)),
        weights=facts["weights"],
        verification=verification,
        accuracy=_accuracy(facts),
    )


def _numbered(names: Sequence[str]) -> str:
    return ", ".join(f"{index} `{name}`" for index, name in enumerate(names))


def _accuracy(facts: dict[str, Any]) -> str:
    if "accuracy" not in facts:
        return ""
    found = facts["accuracy"]
    return (
        f"\nThe file classifies {found['onnx']:.2%} of {found['num_images']:,} test images correctly, PyTorch "
        f"{found['pytorch']:.2%}.\n"
    )
