"""Compare an ONNX model with PyTorch on images, before it is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from firstlight.arrays import Images
from firstlight.attribution import explain
from firstlight.data.batches import to_unit
from firstlight.data.preprocess import to_pixels
from firstlight.errors import RunError
from firstlight.export.onnx.maps_graph import METHODS
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.weight_formats import WeightsName
from firstlight.runs.predictor import Predictor

NUM_IMAGES = 256
NUM_IMAGES_STAGE = 32  # for the maps of each stage, because the backward pass takes time
STAGE_METHOD = "hires_cam"  # its maps show a wrong gradient in any cell
MAX_DIFFERENCE = 1e-4  # of logits and maps, for a model in float32
MAX_RELATIVE = 1e-5  # of the largest logit; it counts if the logits are so large that float32 is less exact than 1e-4
MIN_SAME_MAPS = 0.9  # share of the maps of a stage within the limit
SIZES_PX = ((1, 1), (7, 300), (33, 32), (240, 320), (641, 97))  # height and width of the pictures that are resized


@dataclass(frozen=True)
class MapDifference:
    """Absolute differences between the ONNX maps and the PyTorch maps of one stage. A map counts with its largest cell.

    If the two largest values in a pooling window are equal up to rounding, the two programs may give the gradient to
    different cells. The maps of such an image differ visibly, and both are right.

    Args:
        median: Median over the images.
        largest: Largest of all images.
        same: Share of the images within the limit.
    """

    median: float
    largest: float
    same: float


@dataclass(frozen=True)
class Verification:
    """The result of a comparison with PyTorch.

    Args:
        images: Description of the images on which both models were run.
        num_images: Number of these images.
        limit: Largest difference that counts as rounding.
        same_class: Share of the images for which both predict the same class.
        prepared: Largest difference between a resized picture and Pillow's, in levels of 0 to 255.
        logits: Largest absolute difference between the logits.
        probabilities: Largest absolute difference between the probabilities.
        maps: Largest absolute difference between Grad-CAM's maps at the last stage.
        stage_maps: Differences between HiResCAM's maps of a few of the images, for each stage.
    """

    images: str
    num_images: int
    limit: float
    same_class: float
    prepared: int
    logits: float
    probabilities: float
    maps: float
    stage_maps: dict[str, MapDifference]

    @property
    def is_exact(self) -> bool:
        """Whether all differences are rounding errors, apart from a few maps of HiResCAM."""
        same_maps = min(each.same for each in self.stage_maps.values()) >= MIN_SAME_MAPS
        return same_maps and not self.prepared and max(self.logits, self.probabilities, self.maps) <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"compared with PyTorch on {self.images}: logits differ by at most {_short(self.logits)}, probabilities by "
            f"{_short(self.probabilities)}, maps by {_short(self.maps)}; the predicted class agrees for "
            f"{self.same_class:.1%}; resized pictures differ from Pillow's by at most {self.prepared} of 255 levels"
        )


def _short(difference: float) -> str:
    return f"{difference:.1e}" if difference < 0.001 else f"{difference:.3f}"


def verify(
    content: bytes, model: Predictor, images: Images, stages: tuple[str, ...], weights: WeightsName
) -> Verification:
    """Compare a serialized model with PyTorch.

    Args:
        content: The serialized model.
        model: The model in PyTorch.
        images: Test images, uint8 [n 3 h w]; if there are fewer than 256, random pixels are added.
        stages: Names of the stages that the model explains, in forward order.
        weights: Format of the weights. The differences are limited if the format keeps the weights: float32 does,
            and float16 does if they are half-precision numbers already, as those of a bundle are.

    Raises:
        RunError: The difference is too large.
    """
    images, name = _with_random_images(images)
    found = compare(OnnxModel(content), model, stages, images, name)
    must_agree = weights == "float32" or (weights == "float16" and _are_half(model.network))
    if must_agree and not found.is_exact:
        raise RunError(f"the ONNX model is not written, because it does not agree with PyTorch: {found}")
    return found


def _are_half(network: nn.Module) -> bool:
    """Whether float16 can represent all weights of convolutions and linear layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return all(torch.equal(layer.weight, layer.weight.half().float()) for layer in layers)


def _with_random_images(given: Images) -> tuple[UInt8[Tensor, "m 3 h w"], str]:
    """Return 256 images, uint8 [m 3 h w], and their description: the given images, then images of random pixels."""
    known = given[:NUM_IMAGES]
    num_drawn = NUM_IMAGES - len(known)
    drawn = torch.randint(256, (num_drawn, *given.shape[1:]), generator=_generator(), dtype=torch.uint8)
    kinds = {"test images": len(known), "images of random pixels": num_drawn}
    return torch.cat([known, drawn]), " and ".join(f"{number} {kind}" for kind, number in kinds.items() if number)


def compare(
    onnx_model: OnnxModel, model: Predictor, stages: tuple[str, ...], images: Images, name: str
) -> Verification:
    """Compare all outputs of a model with PyTorch's; see `Verification`."""
    expected = explain(model.network, to_unit(images))
    found = onnx_model.run(images, expected.classes)
    probabilities = (expected.logits / model.temperature).softmax(dim=1)
    limit = max(MAX_DIFFERENCE, MAX_RELATIVE * float(expected.logits.abs().max()))
    return Verification(
        images=name,
        num_images=len(images),
        limit=limit,
        same_class=float((found["logits"].argmax(dim=1) == expected.classes).double().mean()),
        prepared=_prepared_difference(onnx_model, model.size_px),
        logits=float((found["logits"] - expected.logits).abs().max()),
        probabilities=float((found["probabilities"] - probabilities).abs().max()),
        maps=float((found["map"] - expected.maps).abs().max()),
        stage_maps=_stage_map_differences(onnx_model, model, stages, images[:NUM_IMAGES_STAGE], limit),
    )


def _stage_map_differences(
    onnx_model: OnnxModel, model: Predictor, stages: tuple[str, ...], images: Images, limit: float
) -> dict[str, MapDifference]:
    differences, method = {}, list(METHODS).index(STAGE_METHOD)
    for index, stage in enumerate(stages):
        expected = explain(model.network, to_unit(images), method=STAGE_METHOD, stage=stage)
        found = onnx_model.run(images, expected.classes, method, index)["map"]
        differences[stage] = _map_difference(found - expected.maps, limit)
    return differences


def _map_difference(differences: Float[Tensor, "n h w"], limit: float) -> MapDifference:
    largest = differences.abs().amax(dim=(1, 2))
    return MapDifference(float(largest.median()), float(largest.max()), float((largest <= limit).double().mean()))


def _prepared_difference(onnx_model: OnnxModel, size_px: tuple[int, int]) -> int:
    differences = []
    for picture_size_px in SIZES_PX:
        picture = torch.randint(256, (*picture_size_px, 3), generator=_generator(), dtype=torch.uint8)
        expected = to_pixels(picture.numpy(), size_px).int()
        prepared = onnx_model.run_pictures(picture.numpy()[None], np.array([-1]))["prepared"]
        differences.append(int((torch.from_numpy(prepared)[0].permute(2, 0, 1).int() - expected).abs().max()))
    return max(differences)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
