"""Metrics and choices computed from logits, features and labels."""
