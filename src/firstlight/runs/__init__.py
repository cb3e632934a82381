"""The folder that a training leaves, and what is read from it."""
