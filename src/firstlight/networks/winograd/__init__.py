"""3x3 convolution with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3)."""

from firstlight.networks.winograd.convolution import Conv3x3, winograd_conv2d, winograd_gradients

__all__ = ["Conv3x3", "winograd_conv2d", "winograd_gradients"]
