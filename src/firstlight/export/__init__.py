"""Folders to share, made from a run: weights for a model hub, a bundle for the app, a Hugging Face Space."""
