"""The run folder that a training leaves: its files, checkpoints, options and environment."""
