"""How well do wrong labels rank before right ones, if the wrong ones are known? Labels are changed on purpose.

    python benchmarks/planted_noise.py drawn --noise none uniform confusions ambiguous
    python benchmarks/planted_noise.py cifar10 --data_dir DATA_DIR --noise uniform --num_images 10000
    python benchmarks/planted_noise.py cifar10 --data_dir DATA_DIR --bundled --num_images 5000

Each noise is planted in the training labels, the recipe is cross-validated on them, and every method ranks all labels
from the same out-of-fold predictions. `uniform` changes a label to any other class, `confusions` to the class that is
most similar, and `ambiguous` changes the labels of the images that a network without noise finds most ambiguous
(image-dependent noise, as of Xia et al. 2020, arXiv 2006.07836) to its second choice. With
--bundled, nothing is trained: the labels of the test split are changed, and the bundled network, which was not trained
on them, predicts these images, as the audit of a finished run does. The area under the ROC curve is
the probability that a wrong label has a smaller score than a right one. cleanlab is compared if it is installed.
The results file is `planted_noise.jsonl`; --dry_run writes none.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from firstlight.data.cifar import Split
from firstlight.data.folds import fold_numbers
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.data.source import SOURCES, open_source
from firstlight.evaluation import label_noise, label_quality
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.temperature import fit_temperature
from firstlight.export.bundle import BUNDLED_PATH
from firstlight.recipes import get_recipe
from firstlight.reports.cached_predictions import predict_images
from firstlight.runs.environment import describe_environment
from firstlight.runs.pretrained import Pretrained
from firstlight.training.cross_validation import cross_validate
from record import append_line, command_line

SHARES = {"none": 0.0, "uniform": 0.05, "confusions": 0.1, "ambiguous": 0.05}
CIFAR10_PAIRS = {0: 8, 1: 9, 2: 0, 3: 5, 4: 7, 5: 3, 6: 4, 7: 4, 8: 0, 9: 1}  # cat and dog, automobile and truck
_bundled: list[Predictions] = []


def main() -> None:
    options = parse_options()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    source = open_source(options.data, options.data_dir)
    clean, test = source.train(), source.test()
    if options.bundled:
        clean = test
    if options.num_images:
        rows = torch.randperm(len(clean), generator=generator(0, 0, "planted noise"))[: options.num_images]
        clean = replace(clean[rows.sort().values], ids=torch.arange(len(rows)))
    for noise in options.noise:
        labels, changed = plant(noise, clean, options)
        noisy = replace(clean, labels=labels)
        found = predict(options, noisy, test, noise)
        folds = labels.new_zeros(len(labels)) if options.bundled else fold_numbers(noisy, options.folds)
        results = {
            "data": options.data,
            "num_images": len(clean),
            "predicted_by": "the bundled network" if options.bundled else f"{options.folds} folds of {options.recipe}",
            "noise": noise,
            "share": float(changed.double().mean()),
            "oof_accuracy": found.accuracy,
            "accuracy_of_true_labels": float((found.predicted == clean.labels).double().mean()),
        } | measure(found, folds, clean.labels, changed)
        print(json.dumps(results, indent=2))
        if not options.dry_run:
            append_line("planted_noise", results | describe_environment() | {"command": command_line()})


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["drawn", "cifar10"])
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--logs_dir", type=Path, default=Path("logs") / "planted_noise")
    parser.add_argument("--noise", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--bundled", action="store_true", help="predict the test split by the bundled network")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--num_images", type=int, default=0, help="images chosen at random; 0 for all")
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


def plant(noise: str, clean: ImageSet, options: argparse.Namespace) -> tuple[Int64[Tensor, " n"], Bool[Tensor, " n"]]:
    """Return the labels with planted noise, and which of them were changed."""
    num_classes, labels = len(clean.class_names), clean.labels.clone()
    num_changed = round(SHARES[noise] * len(labels))
    draw = generator(0, 0, f"planted {noise}")
    rows = torch.randperm(len(labels), generator=draw)[:num_changed]
    if noise == "uniform":
        labels[rows] = (labels[rows] + torch.randint(1, num_classes, (num_changed,), generator=draw)) % num_classes
    elif noise == "confusions":
        similar = most_similar(options, clean) if options.data == "drawn" else CIFAR10_PAIRS
        labels[rows] = torch.tensor([similar[label] for label in labels[rows].tolist()])
    elif noise == "ambiguous":
        reference = predict(options, clean, clean, "none").probabilities()
        others = reference.scatter(1, labels[:, None], -1.0)
        ambiguity = others.amax(dim=1) + 0.2 * torch.rand(len(labels), generator=draw)
        rows = ambiguity.argsort(descending=True)[:num_changed]
        labels[rows] = others.argmax(dim=1)[rows]
    return labels, labels != clean.labels


def most_similar(options: argparse.Namespace, clean: ImageSet) -> dict[int, int]:
    """Return the class with which a network without noise confuses each class most."""
    found = predict(options, clean, clean, "none")
    mean = torch.stack([found.probabilities()[clean.labels == label].mean(dim=0) for label in clean.labels.unique()])
    return dict(enumerate(mean.fill_diagonal_(-1).argmax(dim=1).tolist()))


def predict(options: argparse.Namespace, train: ImageSet, test: ImageSet, noise: str) -> Predictions:
    """Return the out-of-fold predictions of a recipe trained on these labels, or those of the bundled network."""
    if options.bundled:
        return replace(predict_bundled(train), labels=train.labels)
    name = f"{options.data}-{len(train)}-{noise}"

    def read(_: Path, split: Split) -> ImageSet:
        return train if split == "train" else test[:500]

    SOURCES[name] = read
    recipe = replace(get_recipe(options.recipe), data=name)
    quiet: dict[str, Any] = {"enable_progress_bar": False, "logger": "none"}
    return cross_validate(recipe, options.folds, options.data_dir, options.logs_dir, **quiet).predictions


def predict_bundled(images: ImageSet) -> Predictions:
    """Return the predictions of the bundled network, computed once."""
    if not _bundled:
        _bundled.append(predict_images(Pretrained(BUNDLED_PATH).network, images))
    return _bundled[0]


def measure(
    found: Predictions, folds: Int64[Tensor, " n"], true: Int64[Tensor, " n"], changed: Bool[Tensor, " n"]
) -> dict[str, Any]:
    """Return the AUROC of each method, the estimates of the share of wrong labels, and the share of likely classes."""
    labels, num_classes = found.labels, found.logits.shape[1]
    probabilities = found.probabilities(fit_temperature(found.logits, labels)).double()
    neighbours = label_quality.neighbours_in_folds(found.features, folds)
    votes = label_quality.neighbour_votes(neighbours, labels, num_classes)
    with_votes = label_noise.fit_label_noise(found.logits, labels, votes)
    without_votes = label_noise.fit_label_noise(found.logits, labels)
    scores: dict[str, Float[Tensor, " n"]] = {
        "self_confidence": label_quality.self_confidence(probabilities, labels),
        "normalized_margin": label_quality.normalized_margin(probabilities, labels),
        "confident_learning": label_quality.confident_learning(probabilities, labels),
        "neighbour_agreement": label_quality.neighbour_agreement(votes, labels),
        "label_noise_without_votes": -without_votes.suspicion,
        "label_noise": -with_votes.suspicion,
    } | cleanlab_scores(labels, probabilities)
    is_suspect = with_votes.suspicion > 0.5
    results: dict[str, Any] = {
        "scale": with_votes.scale,
        "vote_weight": with_votes.vote_weight,
        "estimate": with_votes.share,
        "interval": label_noise.share_interval(with_votes),
        "estimate_without_votes": without_votes.share,
        "estimate_confident_learning": float(1 - label_quality.confident_joint(probabilities, labels).trace()),
        "num_suspects": int(is_suspect.sum()),
    }
    if changed.any():
        hits = is_suspect & changed
        results |= {
            "auroc": {name: auroc(score, changed) for name, score in scores.items()},
            "precision": float(hits.sum() / is_suspect.sum().clamp(min=1)),
            "recall": float(hits.sum() / changed.sum()),
            "likely_class_right": float((with_votes.likely == true)[changed].double().mean()),
        }
    return results


def auroc(scores: Float[Tensor, " n"], changed: Bool[Tensor, " n"]) -> float:
    """Return the probability that a changed label has a smaller score than another; ties count half."""
    _, group, counts = scores.double().unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts - 1) / 2)[group]
    num, others = int(changed.sum()), int((~changed).sum())
    return 1 - float(ranks[changed].sum() - num * (num + 1) / 2) / (num * others)


def cleanlab_scores(labels: Int64[Tensor, " n"], probabilities: Float[Tensor, "n k"]) -> dict[str, Tensor]:
    """Return cleanlab's label quality scores, if it is installed."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    score: Callable[..., Any] = get_label_quality_scores
    arrays = labels.numpy(), probabilities.numpy()
    found = {
        f"cleanlab_{method}": torch.from_numpy(score(*arrays, method=method))
        for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    }
    adjusted = torch.from_numpy(score(*arrays, method="self_confidence", adjust_pred_probs=True))
    return found | {"cleanlab_self_confidence_adjusted": adjusted}


if __name__ == "__main__":
    main()
