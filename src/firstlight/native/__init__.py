"""What all native kernels share: compiling them, choosing them, calling them."""
