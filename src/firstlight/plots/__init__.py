"""Arrays in, Figure out: no reading, no writing, no model."""
