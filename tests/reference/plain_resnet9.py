"""The exercise's network as plain operations, straight from the table, without modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
IN_ORDER = ("conv", "pool", "relu", "norm")


def plain_maps(
    weights: Mapping[str, Tensor], images: Tensor, *, training: bool = False, order: Sequence[str] = IN_ORDER
) -> dict[str, Tensor]:
    """Return the output of every stage, the features and the logits by name."""

    def block(x: Tensor, name: str, *, pool: bool = False) -> Tensor:
        for step in order:
            if step == "conv":
                x = F.conv2d(x, weights[f"{name}.conv.weight"], stride=1, padding=1)
            if step == "pool" and pool:
                x = F.max_pool2d(x, 2)
            if step == "relu":
                x = x.clamp(min=0)
            if step == "norm":
                x = normalized(x, name)
        return x

    def normalized(x: Tensor, name: str) -> Tensor:
        mean, var = weights[f"{name}.norm.running_mean"], weights[f"{name}.norm.running_var"]
        if training:
            mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
        scale = weights[f"{name}.norm.weight"] / (var + EPSILON).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + weights[f"{name}.norm.bias"][:, None, None]

    maps = {}
    x = (images - weights["normalize.mean"]) / weights["normalize.std"]
    maps["prep"] = x = block(x, "prep")
    maps["layer1"] = x = block(x, "layer1", pool=True)
    maps["residual1"] = x = x + block(block(x, "residual1.branch.0"), "residual1.branch.1")
    maps["layer2"] = x = block(x, "layer2", pool=True)
    maps["layer3"] = x = block(x, "layer3", pool=True)
    maps["residual3"] = x = x + block(block(x, "residual3.branch.0"), "residual3.branch.1")
    maps["features"] = features = x.flatten(2).max(dim=2).values
    maps["logits"] = features @ weights["head.weight"].T
    return maps
