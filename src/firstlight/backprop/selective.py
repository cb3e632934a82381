"""Selective backpropagation: a backward pass through only those images whose gradient is not zero.

A loss that leaves out some images of a batch gives them gradients of zero. Autograd computes those zeros in every
layer, which wastes up to two thirds of a training step. Here the backward pass of a network's stages is made of
vector-Jacobian products (VJPs). It continues only with the images whose gradient at the last stage's output is not
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, is_grad_enabled, nn
from torch.autograd.function import Function

from firstlight.backprop.rules import Backward, chain_vjps, has_hooks
from firstlight.native.dispatch import is_eager_on_cpu
from firstlight.native.double_backward import differentiable_gradients
from firstlight.networks.staged import StagedNetwork, keeps_methods


def training_logits(network: nn.Module, images: Tensor, *, skip_zero_gradients: bool = False) -> Tensor:
    """Compute the logits of a training batch, with the fastest backward pass that the network allows.

    On a CPU in training, the stages use VJPs instead of autograd if no module has a hook. In all other cases
    this is `network(images)`. A second or a differentiable backward pass first repeats the forward pass with autograd.

    Args:
        network: Network to train, of any class.
        images: RGB in [0, 1], float [n 3 h w].
        skip_zero_gradients: Whether the backward pass through the stages leaves out images whose gradient is zero.

    Returns:
        Logits, float [n k].
    """
    if not _has_standard_forward(network):
        return network(images)
    stages = [network.get_submodule(name) for name in network.stages]
    if not can_apply_vjps(stages, images):
        return network(images)
    maps = apply_vjps(stages, network.normalize(images), skip_zero_gradients=skip_zero_gradients)
    return network.head(network.pool_features(maps))


def apply_vjps(modules: Sequence[nn.Module], x: Tensor, *, skip_zero_gradients: bool = True) -> Tensor:
    """Apply modules in training, one after the other, with a backward pass made of VJPs.

    The gradients equal autograd's, with one exception: if images are skipped, the backward pass of batch norm uses the
    statistics of the whole batch as if they were the statistics of the remaining images. (Jiang et al. 2019,
    "Accelerating Deep Learning by Focusing on the Biggest Losers", arXiv 1910.00762, also skips images in the backward
    pass, but repeats the forward pass of the remaining ones.)

    Args:
        modules: Layers of any kind; a layer without a rule uses autograd.
        x: Maps, float [n c h w], on the CPU.
        skip_zero_gradients: Whether the backward pass leaves out images whose gradient is zero.

    Returns:
        Output of the last module, float [n ...].

    >>> import torch
    >>> layers, images = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)], torch.rand(2, 3, 8, 8)
    >>> apply_vjps(layers, images).shape
    torch.Size([2, 8, 6, 6])
    """
    parameters = nn.ModuleList(modules).parameters()  # without duplicates
    return _ApplyVJPs.apply(x, modules, skip_zero_gradients, *parameters)


def can_apply_vjps(modules: Sequence[nn.Module], x: Tensor) -> bool:
    """Whether `apply_vjps` can replace the modules: on the CPU, with gradients, in training, without hooks."""
    if not (is_grad_enabled() and is_eager_on_cpu(x)):
        return False
    return all(child.training and not has_hooks(child) for module in modules for child in module.modules())


class _ApplyVJPs(Function):
    """Modules one after the other, and the backward pass through their VJPs.

    The VJPs support one backward pass that is not differentiable. A second one (`retain_graph=True`) and a
    differentiable one (`create_graph=True`) repeat the forward pass with autograd, for all images.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, modules: Sequence[nn.Module], skip_zero_gradients: bool, *parameters: nn.Parameter
    ) -> Tensor:
        ctx.repeat = _RepeatedForward(modules)
        ctx.save_for_backward(x, *parameters)
        output, ctx.vjp = chain_vjps(modules, x, ctx.needs_input_grad[0])
        ctx.parameters, ctx.skip_zero_gradients = parameters, skip_zero_gradients
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.vjp is None or is_grad_enabled():
            needs = [each for i, each in enumerate(ctx.needs_input_grad) if i not in (1, 2)]
            repeated = differentiable_gradients(ctx.repeat, ctx.saved_tensors, needs, gradient)
            return repeated[0], None, None, *repeated[1:]
        indices = _indices_with_gradient(gradient) if ctx.skip_zero_gradients else None
        backward = Backward(indices, len(gradient))
        grad_input = ctx.vjp(backward.select(gradient), backward)
        ctx.vjp = None  # frees the activations that it holds
        grad_parameters = (backward.gradients.get(parameter) for parameter in ctx.parameters)
        return None if grad_input is None else backward.scatter(grad_input), None, None, *grad_parameters


class _RepeatedForward:
    """Repeats the forward pass of modules with autograd, with the same random numbers and under the same autocast.

    It uses copies of the buffers, so that the running statistics of batch norm are not updated twice.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = nn.Sequential(*modules)
        self._rng_state = torch.get_rng_state()
        self._autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def __call__(self, x: Tensor, *parameters: Tensor) -> Tensor:
        names = dict(self._modules.named_parameters())  # without duplicates, as `apply_vjps` collects them
        tensors = dict(zip(names, parameters, strict=True))
        tensors |= {name: each.clone() for name, each in self._modules.named_buffers()}
        is_autocast, dtype = self._autocast
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", dtype=dtype, enabled=is_autocast):
            torch.set_rng_state(self._rng_state)
            return cast(Tensor, torch.func.functional_call(self._modules, tensors, (x,)))


def _has_standard_forward(network: nn.Module) -> TypeGuard[StagedNetwork]:
    """Whether a call of the network would only run the methods of `StagedNetwork`."""
    if has_hooks(network) or network._compiled_call_impl is not None:
        return False
    return keeps_methods(network, "forward", "features", "maps")


def _indices_with_gradient(gradient: Tensor) -> Tensor | None:
    """Return the indices of the images with a gradient, int64 [k], at least one; None if all have one.

    Layers cannot process an empty batch, hence one index even if every gradient is zero.
    """
    has_gradient = gradient.abs().amax(dim=tuple(range(1, gradient.ndim))) != 0  # four times as fast as any()
    if has_gradient.all():
        return None
    if not has_gradient.any():
        has_gradient[0] = True
    return has_gradient.nonzero().flatten()
