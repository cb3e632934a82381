"""Class activation maps (CAMs) of a network, and measurements of how faithful they are."""

from firstlight.attribution.explain import ALL_STAGES, DEFAULT_METHOD, Attribution, explain
from firstlight.attribution.faithfulness import Faithfulness, evaluate
from firstlight.attribution.maps import has_positive_evidence, positive_evidence, upsample
from firstlight.attribution.methods import METHODS, method_names
from firstlight.attribution.perturbing_methods import PERTURBING_METHODS, explains_pixels

__all__ = [
    "ALL_STAGES",
    "DEFAULT_METHOD",
    "METHODS",
    "PERTURBING_METHODS",
    "Attribution",
    "Faithfulness",
    "evaluate",
    "explain",
    "explains_pixels",
    "has_positive_evidence",
    "method_names",
    "positive_evidence",
    "upsample",
]
