"""Service: from a picture to an answer, from a filter to a page of mistakes. Knows nothing of how it is shown."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from firstlight.app.uploads import Upload, read_upload
from firstlight.arrays import Images, Labels
from firstlight.attribution import ALL_STAGES, DEFAULT_METHOD, METHODS, explain
from firstlight.data.batches import to_unit
from firstlight.errors import UsageError
from firstlight.evaluation.novelty import is_novel
from firstlight.evaluation.prediction import Prediction
from firstlight.export.bundle import Bundle

PREDICTED = "predicted"  # instead of a class to explain: whatever is predicted
ANY_CLASS = "any"  # in a filter
PAGE_SIZE = 12
MAX_KEPT_PAGES = 100


@dataclass(frozen=True)
class MapOptions:
    """How to explain.

    Args:
        method: a key of `METHODS`; None draws no map.
        stage: one of the network's, "all" for the fused map; None for the last.
    """

    method: str | None = DEFAULT_METHOD
    stage: str | None = None


@dataclass(frozen=True, eq=False)
class ExplainedPrediction:
    """What the network says of a picture, and what spoke for it.

    Args:
        pixels: what it saw, uint8 [3 h w].
        prediction: calibrated probabilities.
        is_novel: whether the picture is unlike the training data; None where nobody measured what that means.
        explained: the class whose evidence is mapped.
        evidence: raw and signed, at the size of the pixels, float [h w]; None if no map was asked for.
        stage: whose activations were weighted.
    """

    pixels: UInt8[np.ndarray, "3 h w"]
    prediction: Prediction
    is_novel: bool | None
    explained: str
    evidence: Float[np.ndarray, "h w"] | None
    stage: str


@dataclass(frozen=True, eq=False)
class Wrong:
    """A misclassified test image, and what spoke for the class that it was taken for and for its own.

    Args:
        pixels: uint8 [3 h w].
        index: its place in the test split.
        predicted: the class that it was taken for.
        predicted_probability: calibrated, in [0, 1].
        true: its class.
        true_probability: likewise.
        maps: evidence for the predicted and for the true class, float [h w] each; None if no map was asked for.
    """

    pixels: UInt8[np.ndarray, "3 h w"]
    index: int
    predicted: str
    predicted_probability: float
    true: str
    true_probability: float
    maps: tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]] | None


@dataclass(frozen=True, eq=False)
class MistakesPage:
    """A page of misclassified images.

    Args:
        items: those on the page, the most confident mistakes first.
        number: of the page, from 1.
        num_pages: at least 1.
        num_found: how many the filter lets through.
        num_wrong: how many there are.
    """

    items: Sequence[Wrong]
    number: int
    num_pages: int
    num_found: int
    num_wrong: int


class Service:
    """Answers with one bundle's network; safe to call from several threads, which take turns.

    Args:
        bundle: the network, its examples and its mistakes.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.class_names = bundle.class_names
        self.size_px = bundle.size_px
        self.stages = (*bundle.network.stages, ALL_STAGES)
        self.methods = tuple(METHODS)
        self._turn = threading.Lock()  # explaining hooks into the network
        self._mistakes = bundle.mistakes
        said = self._mistakes.predictions
        self._said = replace(said, logits=said.logits / bundle.temperature)
        self._wrong = self._said.misclassified()
        self._page = lru_cache(MAX_KEPT_PAGES)(self._make_page)  # most visitors look at the same pages

    def read(self, content: bytes, name: str) -> Upload:
        """Read an uploaded picture.

        Raises:
            DataError: says in one line why it cannot be.
        """
        return read_upload(content, name, self.size_px)

    def predict(
        self, pixels: UInt8[Tensor, "3 h w"], options: MapOptions = MapOptions(), explained: str = PREDICTED
    ) -> ExplainedPrediction:
        """Say what is in an image of the network's size, in one forward pass where the stage allows it.

        Args:
            pixels: uint8 [3 h w].
            options: how to explain.
            explained: the class whose evidence to map, or "predicted".

        Raises:
            UsageError: there is no such class, method or stage.
        """
        images = pixels[None]
        if options.method is None:
            with self._turn, torch.inference_mode():
                logits, evidence, stage = self.bundle.network(to_unit(images)), None, ""
        else:
            wanted = None if explained == PREDICTED else torch.tensor([self._number_of(explained)])
            with self._turn:
                found = explain(
                    self.bundle.network,
                    to_unit(images),
                    method=options.method,
                    stage=self._stage(options.stage),
                    target="predicted" if wanted is None else wanted,
                )
            logits, evidence, stage = found.logits, found.upsampled()[0].numpy(), found.stage
        prediction = Prediction.of((logits[0] / self.bundle.temperature).softmax(dim=0), self.class_names)
        threshold = self.bundle.config.novelty_threshold
        return ExplainedPrediction(
            pixels=pixels.numpy(),
            prediction=prediction,
            is_novel=None if threshold is None else bool(is_novel(logits, threshold)),
            explained=prediction.label if explained == PREDICTED else self.class_names[self._number_of(explained)],
            evidence=evidence,
            stage=stage,
        )

    def mistakes(
        self, true: str = ANY_CLASS, predicted: str = ANY_CLASS, page: int = 1, options: MapOptions = MapOptions()
    ) -> MistakesPage:
        """Return a page of misclassified test images.

        Args:
            true: only images of this class, or "any".
            predicted: only images taken for this class, or "any".
            page: from 1; a page beyond the last is the last.
            options: how to explain.

        Raises:
            UsageError: there is no such class, method or stage.
        """
        return self._page(true, predicted, page, options)

    def _make_page(self, true: str, predicted: str, page: int, options: MapOptions) -> MistakesPage:
        images, said, rows = self._mistakes.images, self._said, self._wrong
        for name, column in ((true, said.labels), (predicted, said.predicted)):
            if name != ANY_CLASS:
                rows = rows[column[rows] == self._number_of(name)]
        num_pages = max(1, -(-len(rows) // PAGE_SIZE))
        page = min(max(page, 1), num_pages)
        chosen = rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        taken_for, labels = said.predicted[chosen], said.labels[chosen]
        items = self._items(chosen, self._maps(images.images[chosen], (taken_for, labels), options))
        return MistakesPage(items, page, num_pages, len(rows), len(said))

    def _items(self, rows: Int64[Tensor, " m"], maps: list[Float[np.ndarray, "n h w"]] | None) -> list[Wrong]:
        images, probabilities = self._mistakes.images[rows], self._said.probabilities()[rows]
        columns = zip(self._said.predicted[rows].tolist(), images.labels.tolist(), strict=True)
        return [
            Wrong(
                pixels=images.images[place].numpy(),
                index=int(images.ids[place]),
                predicted=self.class_names[wrong],
                predicted_probability=float(probabilities[place, wrong]),
                true=self.class_names[right],
                true_probability=float(probabilities[place, right]),
                maps=None if maps is None else (maps[0][place], maps[1][place]),
            )
            for place, (wrong, right) in enumerate(columns)
        ]

    def _maps(
        self, images: Images, classes: tuple[Labels, Labels], options: MapOptions
    ) -> list[Float[np.ndarray, "n h w"]] | None:
        """Explain the same images for each of the two columns of classes."""
        if options.method is None or not len(images):
            return None
        pixels, stage = to_unit(images), self._stage(options.stage)
        with self._turn:
            both = [
                explain(self.bundle.network, pixels, method=options.method, stage=stage, target=column)
                for column in classes
            ]
        return [each.upsampled().numpy() for each in both]

    def _stage(self, stage: str | None) -> str | None:
        """Only the named stages: a path to any other module is nothing that a page asks for."""
        if stage is not None and stage not in self.stages:
            raise UsageError(f"no stage is called {stage!r}: choose one of {', '.join(self.stages)}")
        return stage

    def _number_of(self, name: str) -> int:
        if name not in self.class_names:
            raise UsageError(f"no class is called {name!r}: choose one of {', '.join(self.class_names)}")
        return self.class_names.index(name)
