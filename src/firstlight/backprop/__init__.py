"""Pullbacks: the way back through a layer, written by hand, for some of the images of a batch.

A layer's pullback turns the gradient of its output into that of its input and of its parameters. Autograd has its own
for every layer, but none can leave out images; these can, and they can be compiled together with the way forward. A
layer that has none here is left to autograd, with all images.
"""

import firstlight.backprop.layer_rules  # noqa: F401  # makes its rules known
from firstlight.backprop.rules import RULES, Backward, Pullback, are_known, chained, has_hooks, rule_for, traced

__all__ = ["RULES", "Backward", "Pullback", "are_known", "chained", "has_hooks", "rule_for", "traced"]
