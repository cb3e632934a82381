"""Backward rules for the layers of `torch.nn` and `firstlight.layers`: forward pass and gradient function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.backprop.rules import (
    VJP,
    Backward,
    autograd_rule,
    chain_vjps,
    compose,
    forward_with_vjp,
    rule_for,
    rule_for_sequence,
)
from firstlight.layers import batch_norm
from firstlight.layers.batch_norm import BatchNorm, Moments
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.conv3x3.amx import AmxConvolution, Epilogue
from firstlight.layers.conv3x3.layer import compute_dtype
from firstlight.layers.gelu import Gelu, gelu, gelu_gradient
from firstlight.layers.max_pool import MaxPool2x2, max_pool, max_pool_gradient
from firstlight.layers.residual import Residual


@rule_for(nn.Sequential)
def _(module: nn.Sequential, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    return chain_vjps(module, x, needs_gradient)


@rule_for(Residual)
def _(module: Residual, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    branch_output, branch_vjp = forward_with_vjp(module.branch, x, needs_gradient)

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        grad_input = branch_vjp(gradient, backward)
        return None if grad_input is None else grad_input + gradient

    return x + branch_output, vjp


@rule_for(nn.Conv2d)
def _direct(module: nn.Conv2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return autograd_rule(module, x, needs_gradient)
    output = module(x)
    weight, bias = module.weight, module.bias
    output_mask = [needs_gradient, weight.requires_grad, bias is not None and bias.requires_grad]
    images = x.to(output.dtype)

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        if bias is not None and output_mask[2]:
            backward.add(bias, gradient.sum((0, 2, 3), dtype=bias.dtype))
        if not any(output_mask[:2]):
            return None
        grad_images, grad_weight, _ = torch.ops.aten.convolution_backward(
            gradient,
            backward.select(images),
            weight.to(gradient.dtype),
            None,
            module.stride,
            module.padding,
            module.dilation,
            False,
            [0, 0],
            module.groups,
            [*output_mask[:2], False],
        )
        backward.add(weight, grad_weight)
        return grad_images

    return output, vjp


@rule_for(Conv3x3)
def _(module: Conv3x3, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    algorithm = module.algorithm(x)
    if algorithm is None:
        return _direct(module, x, needs_gradient)
    output = module(x)
    return output, _convolution_vjp(algorithm.gradients, module.weight, x.to(output.dtype), needs_gradient)


@rule_for_sequence(Conv3x3, MaxPool2x2)
@rule_for_sequence(Conv3x3, BatchNorm)
@rule_for_sequence(Conv3x3, BatchNorm, Gelu)
@rule_for_sequence(Conv3x3, nn.ReLU, BatchNorm)
@rule_for_sequence(Conv3x3, MaxPool2x2, BatchNorm)
@rule_for_sequence(Conv3x3, MaxPool2x2, BatchNorm, Gelu)
@rule_for_sequence(Conv3x3, MaxPool2x2, nn.ReLU, BatchNorm)
def _(modules: Sequence[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP] | None:
    conv, epilogue = cast(Conv3x3, modules[0]), Epilogue(_has(MaxPool2x2, modules), _has(nn.ReLU, modules))
    algorithm, after = conv.algorithm(x), modules[1 + sum(epilogue) :]  # batch norm and the layers after it
    if not isinstance(algorithm, AmxConvolution) or (epilogue.pools and min(x.shape[2:]) < 2):
        return None
    norm = cast(BatchNorm, after[0]) if after else None
    images, pivots = x.to(compute_dtype(x)), None if norm is None else norm.running_mean
    output, argmax, sums = algorithm.convolve_to_train(images.permute(0, 2, 3, 1), conv.weight, epilogue, pivots)
    convolved = output.permute(0, 3, 1, 2)
    conv_vjp = _convolution_vjp(partial(algorithm.gradients, argmax=argmax), conv.weight, images, needs_gradient)
    if epilogue.applies_relu:
        conv_vjp = compose(conv_vjp, _relu_vjp(convolved))
    if norm is None:
        return convolved, conv_vjp
    conv_needs_gradient = needs_gradient or conv.weight.requires_grad
    if pivots is None or sums is None or not norm.is_faster(convolved):
        normal, vjp = chain_vjps(after, convolved, conv_needs_gradient)
    else:
        moments = Moments.from_sums(pivots, sums, output.numel() // output.shape[3])
        accurate = moments if moments.is_accurate(pivots) else None
        normal, vjp = _native_batch_norm(norm, convolved, conv_needs_gradient, accurate, with_gelu=_has(Gelu, after))
    return normal, compose(conv_vjp, vjp)


def _has(kind: type[nn.Module], modules: Sequence[nn.Module]) -> bool:
    """Whether one of the modules is of a kind."""
    return any(isinstance(each, kind) for each in modules)


def _convolution_vjp(
    gradients: Callable[..., tuple[Tensor | None, Tensor | None]], filters: Tensor, images: Tensor, needs_gradient: bool
) -> VJP:
    """Return the VJP of a convolution of images; `gradients` is the algorithm's method of that name."""

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        maps, grad_output = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        output_mask = needs_gradient, filters.requires_grad
        grad_maps, grad_filters = gradients(maps, filters, grad_output, *output_mask, indices=backward.indices)
        backward.add(filters, grad_filters)
        return None if grad_maps is None else grad_maps.permute(0, 3, 1, 2)

    return vjp


@rule_for(BatchNorm)
def _(module: BatchNorm, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    if not module.is_faster(x):
        return _batch_norm(module, x, needs_gradient)
    return _native_batch_norm(module, x, needs_gradient, with_gelu=False)


@rule_for_sequence(BatchNorm, Gelu)
def _(modules: Sequence[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP] | None:
    norm, activation = cast(tuple[BatchNorm, Gelu], modules)
    if not (norm.is_faster(x) and activation.is_faster(x)):
        return None
    return _native_batch_norm(norm, x, needs_gradient, with_gelu=True)


def _native_batch_norm(
    module: BatchNorm, x: Tensor, needs_gradient: bool, moments: Moments | None = None, *, with_gelu: bool
) -> tuple[Tensor, VJP]:
    maps = x.permute(0, 2, 3, 1).contiguous()
    weight, bias = module.weight, module.bias
    moments = moments or batch_norm.compute_moments(maps)
    scales, shifts = moments.scale_and_shift(weight, bias, module.eps)
    output, slopes = batch_norm.normalize(maps, scales, shifts, with_gelu=with_gelu)
    module.update_running_stats(moments, x.numel() // x.shape[1])

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        grad_output = gradient.permute(0, 2, 3, 1)
        grad_maps, grad_weight, grad_bias = batch_norm.gradients(
            grad_output, maps, slopes, backward.indices, moments, weight, module.eps
        )
        backward.add(weight, grad_weight if weight.requires_grad else None)
        backward.add(bias, grad_bias if bias.requires_grad else None)
        return grad_maps.permute(0, 3, 1, 2) if needs_gradient else None

    return output.permute(0, 3, 1, 2), vjp


@rule_for(nn.BatchNorm2d)
def _batch_norm(module: nn.BatchNorm2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    weight, bias, means, variances = module.weight, module.bias, module.running_mean, module.running_var
    if weight is None or means is None or module.momentum is None:
        return autograd_rule(module, x, needs_gradient)
    cast(Tensor, module.num_batches_tracked).add_(1)
    output, mean, reciprocal_std = torch.ops.aten._native_batch_norm_legit(
        x, weight, bias, means, variances, True, module.momentum, module.eps
    )
    output_mask = [needs_gradient, weight.requires_grad, bias.requires_grad]

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        grad_input, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, backward.select(x), weight, means, variances, mean, reciprocal_std, True, module.eps, output_mask
        )
        backward.add(weight, grad_weight if output_mask[1] else None)
        backward.add(bias, grad_bias if output_mask[2] else None)
        return grad_input if needs_gradient else None

    return output, vjp


@rule_for(Gelu)
def _(module: Gelu, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    if not module.is_faster(x):
        return module(x), lambda gradient, backward: torch.ops.aten.gelu_backward(gradient, backward.select(x))
    output, slopes = gelu(x, with_slopes=needs_gradient)
    return output, lambda gradient, backward: gelu_gradient(gradient, backward.select(slopes))


@rule_for(nn.ReLU)
def _(module: nn.ReLU, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:  # noqa: ARG001  # the signature of all rules
    output = x.relu()
    return output, _relu_vjp(output)


def _relu_vjp(output: Tensor) -> VJP:
    return lambda gradient, backward: torch.ops.aten.threshold_backward(gradient, backward.select(output), 0)


@rule_for(MaxPool2x2)
def _(module: MaxPool2x2, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:  # noqa: ARG001
    if torch.compiler.is_compiling():
        return _max_pool_to_fuse(x)
    height, width = x.shape[2:]
    if module.is_faster(x):
        output, argmax = max_pool(x)

        def vjp(gradient: Tensor, backward: Backward) -> Tensor:
            kept = argmax if backward.indices is None else argmax.index_select(0, backward.indices)
            return max_pool_gradient(gradient, kept, height, width)

        return output, vjp
    kernel = stride = [2, 2]
    output, argmax = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride)

    def vjp_by_aten(gradient: Tensor, backward: Backward) -> Tensor:
        no_padding, dilation, ceil_mode = [0, 0], [1, 1], False
        return torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, backward.select(x), kernel, stride, no_padding, dilation, ceil_mode, backward.select(argmax)
        )

    return output, vjp_by_aten


def _max_pool_to_fuse(x: Tensor) -> tuple[Tensor, VJP]:
    """Max pooling in plain arithmetic, which a compiler fuses with neighbouring layers; stores a byte per window."""
    maps = x.permute(0, 2, 3, 1)
    _, height, width, channels = maps.shape
    rows, columns = height // 2, width // 2
    a, b, c, d = (maps[:, i : 2 * rows : 2, j : 2 * columns : 2] for i in (0, 1) for j in (0, 1))
    top, bottom = torch.maximum(a, b), torch.maximum(c, d)
    argmax = torch.where(top >= bottom, (b > a).to(torch.uint8), (d > c).to(torch.uint8) + 2)

    def vjp(gradient: Tensor, backward: Backward) -> Tensor:
        kept = argmax if backward.indices is None else argmax.index_select(0, backward.indices)
        number = torch.arange(4, dtype=torch.uint8, device=x.device).view(2, 1, 2, 1)
        spread = gradient.permute(0, 2, 3, 1)[:, :, None, :, None]  # [k rows 1 columns 1 channels]
        grad_windows = torch.where(kept[:, :, None, :, None] == number, spread, 0.0)
        grad_maps = grad_windows.reshape(len(kept), 2 * rows, 2 * columns, channels)
        return F.pad(grad_maps, (0, 0, 0, width - 2 * columns, 0, height - 2 * rows)).permute(0, 3, 1, 2)

    return torch.maximum(top, bottom).permute(0, 3, 1, 2), vjp


@rule_for(nn.AdaptiveMaxPool2d)
def _(module: nn.AdaptiveMaxPool2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    if module.output_size != 1:
        return autograd_rule(module, x, needs_gradient)
    height, width = x.shape[2:]
    output, argmax = x.flatten(2).max(dim=2)

    def vjp(gradient: Tensor, backward: Backward) -> Tensor:
        is_largest = backward.select(argmax)[:, :, None] == torch.arange(height * width, device=gradient.device)
        return (gradient.flatten(2) * is_largest).unflatten(2, (height, width))

    return output[:, :, None, None], vjp


@rule_for(nn.ZeroPad2d)
def _(module: nn.ZeroPad2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    left, _, top, _ = module.padding
    if min(module.padding) < 0:
        return autograd_rule(module, x, needs_gradient)
    height, width = x.shape[2:]
    return module(x), lambda gradient, _: gradient[:, :, top : top + height, left : left + width]


@rule_for(nn.Linear)
def _(module: nn.Linear, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    if x.ndim != 2:
        return autograd_rule(module, x, needs_gradient)
    output = module(x)

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        weight, bias = module.weight, module.bias
        if weight.requires_grad:
            backward.add(weight, gradient.mT @ backward.select(x).to(gradient.dtype))
        if bias is not None and bias.requires_grad:
            backward.add(bias, gradient.sum(0))
        return gradient @ weight.to(gradient.dtype) if needs_gradient else None

    return output, vjp
