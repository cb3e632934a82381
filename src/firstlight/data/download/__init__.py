"""Download, verify and unpack data sets."""
