"""Images that are not RGB in [0, 1] are refused or warned of, once, wherever they enter."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from firstlight.attribution import explain
from firstlight.errors import UsageError
from firstlight.layers.input_range import is_checkable, refuse_integers, warn_of_range
from firstlight.layers.normalize import Normalize
from firstlight.networks import ResNet9, ResNet9Config

WRONG: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "standardized": (lambda x: (x - 0.47) / 0.25, "leave out your own normalization"),
    "centred": (lambda x: 2 * x - 1, "leave out your own normalization"),
    "0..255": (lambda x: 255 * x, "divide them by 255"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_network_in_eval_mode_warns_once(name: str) -> None:
    change, advice = WRONG[name]
    network = ResNet9(4, ResNet9Config(width=2)).eval()
    images = torch.rand(4, 3, 32, 32)
    network(images)  # images in the range do not end the check
    with pytest.warns(UserWarning, match=advice):
        network(change(images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(change(images))


def test_explain_warns_through_the_network() -> None:
    network = ResNet9(4, ResNet9Config(width=2))
    with pytest.warns(UserWarning, match="divide them by 255"):
        explain(network, 255 * torch.rand(2, 3, 32, 32))


def test_integers_are_refused() -> None:
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for call in (Normalize(), ResNet9(4, ResNet9Config(width=2)), refuse_integers):
        with pytest.raises(UsageError, match=r"uint8.*images / 255"):
            call(pixels)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.rand(2, 3, 4, 4) * 1.2 - 0.1]
)
def test_images_in_the_unit_range_cause_no_warning(images: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_of_range(images)


def test_training_mode_reads_no_values() -> None:
    """The module checks its first training batch instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Normalize().train()(255 * torch.rand(1, 3, 4, 4))


def test_tensors_without_values_are_not_checked() -> None:
    normalize = Normalize().eval()
    images = 255 * torch.rand(2, 3, 4, 4)
    assert not is_checkable(images.to("meta"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="images have values")
        torch.jit.trace(normalize, (images,), check_trace=False)
        torch.compile(normalize, backend="eager", fullgraph=True)(images)
        torch.vmap(normalize)(images[:, None])
        assert normalize(images[:0]).shape == (0, 3, 4, 4)
