"""The 3x3 convolution of a CPU, by the fastest way it has: matrix tiles (AMX), Winograd's method, PyTorch's."""

from firstlight.layers.conv3x3.layer import Conv3x3, conv3x3

__all__ = ["Conv3x3", "conv3x3"]
