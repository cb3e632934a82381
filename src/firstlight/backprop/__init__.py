"""Pullbacks: the way back through a layer, written by hand, for some of the images of a batch.

A layer's vjp turns the gradient of its output into that of its input and of its parameters. Autograd has its own
for every layer, but none can leave out images; these can, and they can be compiled together with the way forward. A
layer that has none here is left to autograd, with all images.
"""

import firstlight.backprop.layer_rules  # noqa: F401  # makes its rules known
from firstlight.backprop.rules import RULES, VJP, Backward, are_known, chain_vjps, forward_with_vjp, has_hooks, rule_for

__all__ = ["RULES", "VJP", "Backward", "are_known", "chain_vjps", "forward_with_vjp", "has_hooks", "rule_for"]
