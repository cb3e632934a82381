"""Optimizers and schedules."""

from firstlight.optim.schedule import one_cycle

__all__ = ["one_cycle"]
