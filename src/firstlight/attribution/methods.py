"""Registry of the attribution methods that compute a signed CAM from activations and gradients, and all names."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from firstlight.attribution.eigen_cam import eigen_cam
from firstlight.attribution.grad_cam import grad_cam
from firstlight.attribution.grad_cam_pp import grad_cam_pp
from firstlight.attribution.hires_cam import hires_cam
from firstlight.attribution.layer_cam import layer_cam
from firstlight.attribution.perturbing_methods import PERTURBING_METHODS
from firstlight.attribution.xgrad_cam import xgrad_cam
from firstlight.errors import UsageError

Method = Callable[[Tensor, Tensor], Tensor]

METHODS: dict[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
    "xgrad_cam": xgrad_cam,
    "eigen_cam": eigen_cam,
}


def method_names() -> tuple[str, ...]:
    """Return the names of all methods: those of `METHODS`, then the slow ones of `PERTURBING_METHODS`."""
    return (*METHODS, *PERTURBING_METHODS)


def check_method(name: str) -> None:
    """Check that a method has this name.

    Raises:
        UsageError: No method has this name.

    >>> check_method("grad_cam")
    """
    if name not in method_names():
        raise UsageError(f"no method is called {name!r}: choose one of {', '.join(method_names())}")
