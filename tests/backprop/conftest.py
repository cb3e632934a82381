"""Fixtures for layers with native kernels."""

from reference.native_layers import always_compiled, amx_convolution, emulated_amx, tiles

__all__ = ["always_compiled", "amx_convolution", "emulated_amx", "tiles"]
