"""Registry of the attribution methods: functions from activations and gradients to a signed CAM."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from firstlight.attribution.grad_cam import grad_cam
from firstlight.attribution.grad_cam_pp import grad_cam_pp
from firstlight.attribution.hires_cam import hires_cam
from firstlight.attribution.layer_cam import layer_cam
from firstlight.errors import UsageError

Method = Callable[[Tensor, Tensor], Tensor]

METHODS: dict[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
}


def find_method(name: str) -> Method:
    """Return the method with this name.

    Raises:
        UsageError: No method has this name.

    >>> find_method("grad_cam") is grad_cam
    True
    """
    if name not in METHODS:
        raise UsageError(f"no method is called {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]
