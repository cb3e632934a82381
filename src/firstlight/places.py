"""Where data sets and runs are kept unless the user says otherwise."""

DEFAULT_DATA_DIR = "data"
DEFAULT_LOGS_DIR = "logs"
