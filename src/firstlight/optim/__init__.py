"""The Muon optimizer and learning-rate curves."""

from firstlight.optim.lr_curves import linear_decay, one_cycle
from firstlight.optim.muon import Muon

__all__ = ["Muon", "linear_decay", "one_cycle"]
