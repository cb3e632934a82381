"""A 3x3 convolution that picks the fastest CPU algorithm: AMX tiles, Winograd or PyTorch."""

from firstlight.layers.conv3x3.layer import Conv3x3, conv3x3

__all__ = ["Conv3x3", "conv3x3"]
