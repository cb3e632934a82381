"""Fetch, verify and unpack data sets."""
