"""The HTML report of a run: templates, style, script, and their rendering into one file."""
