"""Texts that both demos of a model show: the app, and the page that runs in a browser alone."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.attribution import ALL_STAGES
from firstlight.export.bundle import Bundle

METHOD_NAMES = {
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGrad-CAM",
    "eigen_cam": "Eigen-CAM",
}
NOVEL_TITLE = "Unlike the training data."
NOVEL = (
    "This picture activates the classes less than the images that the model was trained on: do not trust the answer. "
    "The Model tab explains this check and states how often it is wrong."
)
NOVELTY = (
    "A picture is marked as unlike the training data if its energy score (Liu et al. 2020) is above a threshold that "
    "at most 5% of new images like the training data exceed. The score detects pictures that activate no class. A "
    "photograph of something else may well activate one. The table shows the share of other images that are marked:"
)
CALIBRATION = (
    "The percentages are calibrated: the logits are divided by one temperature, which is fitted on validation images "
    "(Guo et al. 2017), so that about 80% of the answers with a probability of 80% are correct. The calibration error "
    "is the mean difference that remains on the test images."
)
NO_EVIDENCE = "No positive evidence for this class."
SCALE_ALT = "colour scale from dark, no evidence, to bright, the strongest evidence"


def task_text(bundle: Bundle) -> str:
    """Return what the demo does, in one sentence."""
    network = type(bundle.network).__name__
    return f"Classify a picture with a {network} trained on {bundle.data.name}, and see the evidence for each class."


def accuracy_text(bundle: Bundle) -> str:
    """Return how accurate the model is, in one sentence."""
    test = bundle.measured["test"]
    return f"It classifies {test['single_view']:.2%} of {test['num_images']:,} test images correctly."


def diagram_text(bundle: Bundle) -> str:
    """Return the description of the drawing of the network for screen readers."""
    return f"drawing of {type(bundle.network).__name__}: its stages from left to right"


def stage_labels(stages: Sequence[str]) -> list[str]:
    """Return the names of stages for a dropdown, of which the last single stage is marked.

    >>> stage_labels(["layer1", "layer2", "all"])
    ['layer1', 'layer2 (last)', 'all, fused']
    """
    last = [name for name in stages if name != ALL_STAGES][-1]
    marks = {last: f"{last} (last)", ALL_STAGES: "all, fused"}
    return [marks.get(name, name) for name in stages]
