"""Optimizers and schedules."""

from firstlight.optim.muon import Muon
from firstlight.optim.schedule import linear_decay, one_cycle

__all__ = ["Muon", "linear_decay", "one_cycle"]
