"""From predictions and images to the list of what the model got wrong."""

from __future__ import annotations

from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.plots.mistakes import Mistake


def collect_mistakes(images: ImageSet, predictions: Predictions, count: int) -> list[Mistake]:
    """Return the misclassified images, the most confident first.

    Args:
        images: the set that was predicted.
        predictions: of these images, in the same order.
        count: how many, at most.
    """
    names, probabilities, predicted = images.class_names, predictions.probabilities(), predictions.predicted
    mistakes = []
    for row in predictions.misclassified()[:count].tolist():
        wrong, right = int(predicted[row]), int(predictions.labels[row])
        mistakes.append(
            Mistake(
                image=images.images[row].numpy(),
                index=int(predictions.ids[row]),
                predicted=names[wrong],
                predicted_probability=float(probabilities[row, wrong]),
                true=names[right],
                true_probability=float(probabilities[row, right]),
            )
        )
    return mistakes


def title_of(images: ImageSet, predictions: Predictions) -> str:
    """Return the sheet's title: how many are wrong, of how many."""
    num_wrong = len(predictions.misclassified())
    return f"{images.name}: {num_wrong:,} of {len(predictions):,} misclassified, most confident first"
