"""Reports on data sets and runs, composed from attribution, evaluation and plots."""
