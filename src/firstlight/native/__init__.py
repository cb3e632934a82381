"""Shared by all native kernels: compiling, choosing and calling them."""
