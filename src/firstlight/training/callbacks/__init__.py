"""Lightning callbacks: checkpoints, metrics, progress, signals and the run folder."""
