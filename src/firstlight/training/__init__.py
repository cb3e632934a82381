"""Everything that knows Lightning: a Recipe becomes a Run."""

from firstlight.deferred_import import defer_import

# torchmetrics, which Lightning imports, loads scipy.signal only to set `hamming` for metrics of sound.
defer_import("scipy.signal", hamming=None)
