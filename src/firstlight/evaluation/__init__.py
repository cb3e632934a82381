"""Metrics, statistical tests and searches on logits, features and labels."""
