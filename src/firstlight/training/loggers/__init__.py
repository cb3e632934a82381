"""Loggers, and the log files of a run that is resumed."""
