"""Vector-Jacobian products (VJPs) of layers, for some of the images of a batch.

A layer's VJP maps the gradient of its output to the gradients of its input and of its parameters. Autograd cannot skip
images; these VJPs can, and they can be compiled together with the forward pass. Layers without a rule use autograd,
for all images.
"""

import firstlight.backprop.layer_rules  # noqa: F401  # registers its rules
from firstlight.backprop.rules import (
    RULES,
    VJP,
    Backward,
    chain_vjps,
    forward_with_vjp,
    has_hooks,
    have_rules,
    rule_for,
)

__all__ = ["RULES", "VJP", "Backward", "chain_vjps", "forward_with_vjp", "has_hooks", "have_rules", "rule_for"]
