"""Whole-batch augmentation of raw pixels: pure functions whose random numbers are arguments."""
