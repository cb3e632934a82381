"""What a run found, put together from attribution, evaluation and plots."""
