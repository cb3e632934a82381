"""Compile, enable and call the native kernels; every kernel uses these modules."""
