"""Loggers by name, and the log files of a resumed run."""
