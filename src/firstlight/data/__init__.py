"""Data sets, their splits, and augmented batches of their images."""
