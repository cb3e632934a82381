"""Augmentation of whole batches of raw pixels: pure functions that take their random numbers as arguments."""
