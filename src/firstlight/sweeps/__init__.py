"""Searches over the fields of a recipe, on validation accuracy, with Optuna."""

from __future__ import annotations
