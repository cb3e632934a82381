"""The user's own images: a folder for each class."""
