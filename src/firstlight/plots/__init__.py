"""Functions from arrays to matplotlib figures; they read no files and run no network."""
