"""What the model looked at."""
