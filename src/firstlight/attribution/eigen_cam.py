"""Eigen-CAM: the activations projected onto their first principal direction, the same map for every class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def eigen_cam(
    activations: Float[Tensor, "n c h w"],
    gradients: Float[Tensor, "n c h w"],  # noqa: ARG001  # every method of the registry takes both
) -> Float[Tensor, "n h w"]:
    """Return Eigen-CAM: the projection of each cell's activations onto the first right singular vector of all cells.

        A = U S V^T  with a row for each cell        cam = A v_1

    Muhammad and Yeasin 2020, arXiv 2008.00299, equations 4 and 5. The activations are not centred. The sign of v_1 is
    arbitrary; it is chosen so that the map has a positive sum. The map is the same for every class, so it shows what
    the stage responds to, not the evidence for a class: use it as a baseline.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Not used; every method has these arguments.

    Returns:
        The CAM in units of the activations, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[1.0, 2.0]]]])
    >>> eigen_cam(activations, torch.zeros_like(activations)).square().round().tolist()  # v_1 is (1, 1) / sqrt(2)
    [[[2.0, 8.0]]]
    """
    cells = activations.flatten(2).transpose(1, 2)
    covariance = cells.transpose(1, 2) @ cells if cells.shape[1] >= cells.shape[2] else cells @ cells.transpose(1, 2)
    first = torch.linalg.eigh(covariance).eigenvectors[..., -1:]  # eigenvalues ascend
    projected = cells @ first if cells.shape[1] >= cells.shape[2] else _scaled(first, cells)
    sign = torch.where(projected.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    return (sign * projected)[..., 0].unflatten(1, activations.shape[2:])


def _scaled(left: Float[Tensor, "n p 1"], cells: Float[Tensor, "n p c"]) -> Float[Tensor, "n p 1"]:
    """Return A v_1 = s_1 u_1 from the left singular vector u_1; s_1 is the length of A^T u_1."""
    return left * (cells.transpose(1, 2) @ left).norm(dim=1, keepdim=True)
