"""Service: computes predictions for pictures and pages of mistakes, independent of the page that shows them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from firstlight.app.upload_limits import Upload, read_upload
from firstlight.attribution import ALL_STAGES, DEFAULT_METHOD, METHODS, explain
from firstlight.data.batches import to_unit
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import Mistake, MistakeFilter, label_of, mistakes_at
from firstlight.evaluation.novelty import is_novel
from firstlight.evaluation.picture_prediction import Prediction
from firstlight.export.bundle import Bundle
from firstlight.reports.explained_mistakes import ExplainedMistake, explain_mistakes

PREDICTED = "predicted"  # the value of "class to explain" for the predicted class
ANY_CLASS = "any"  # in a filter
PAGE_SIZE = 12
MAX_KEPT_PAGES = 100


@dataclass(frozen=True)
class MapOptions:
    """Options of an evidence map.

    Args:
        method: Name of the method, a key of `METHODS`; None draws no map.
        stage: Name of a stage of the network; "all" for the fused map; None for the last stage.
    """

    method: str | None = DEFAULT_METHOD
    stage: str | None = None


@dataclass(frozen=True, eq=False)
class ExplainedPrediction:
    """A prediction for a picture and its explanation.

    Args:
        pixels: Input of the network, uint8 [3 h w].
        prediction: Calibrated probabilities.
        is_novel: Whether the picture is unlike the training data; None if the model has no threshold for it.
        explained: Class whose evidence is mapped.
        evidence: Evidence map, raw and signed, at the size of the pixels, float [h w]; None if no map was requested.
        stage: Stage whose activations were weighted.
    """

    pixels: UInt8[np.ndarray, "3 h w"]
    prediction: Prediction
    is_novel: bool | None
    explained: str
    evidence: Float[np.ndarray, "h w"] | None
    stage: str


@dataclass(frozen=True, eq=False)
class MistakesPage:
    """A page of misclassified images.

    Args:
        items: Mistakes on this page, the most confident first.
        number: Number of this page, from 1.
        num_pages: Number of pages, at least 1.
        num_found: Number of mistakes that match the filter.
        num_wrong: Number of all mistakes.
    """

    items: Sequence[ExplainedMistake]
    number: int
    num_pages: int
    num_found: int
    num_wrong: int


class Service:
    """Answers requests with the network of one bundle. Threads may share a service; they use the network one at a time.

    Args:
        bundle: Network with its examples and its mistakes.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.class_names = bundle.class_names
        self.size_px = bundle.size_px
        self.stages = (*bundle.network.stages, ALL_STAGES)
        self.methods = tuple(METHODS)
        self._lock = threading.Lock()  # `explain` registers hooks on the network
        predictions = bundle.mistakes.predictions
        self._predictions = predictions.calibrated(bundle.temperature)
        self._page = lru_cache(MAX_KEPT_PAGES)(self._make_page)  # most visitors look at the same pages

    def read(self, content: bytes, name: str) -> Upload:
        """Read an uploaded picture.

        Raises:
            DataError: The picture cannot be read; the message says why in one line.
        """
        return read_upload(content, name, self.size_px)

    def predict(
        self, pixels: UInt8[Tensor, "3 h w"], options: MapOptions = MapOptions(), explained: str = PREDICTED
    ) -> ExplainedPrediction:
        """Classify an image of the network's input size and explain a class, if possible in one forward pass.

        Args:
            pixels: Raw pixels, uint8 [3 h w].
            options: Options of the evidence map.
            explained: Class whose evidence is mapped, or "predicted".

        Raises:
            UsageError: There is no such class, method or stage.
        """
        images = to_unit(pixels[None])
        label = None if explained == PREDICTED else label_of(explained, self.class_names)
        if options.method is None:
            with self._lock, torch.inference_mode():
                logits, evidence, stage = self.bundle.network(images), None, ""
        else:
            target: Literal["predicted"] | Tensor = "predicted" if label is None else torch.tensor([label])
            method, stage_name = self._method(options.method), self._stage(options.stage)
            with self._lock:
                found = explain(self.bundle.network, images, method=method, stage=stage_name, target=target)
            logits, evidence, stage = found.logits, found.upsampled()[0].numpy(), found.stage
        prediction = Prediction.of((logits[0] / self.bundle.temperature).softmax(dim=0), self.class_names)
        threshold = self.bundle.config.novelty_threshold
        return ExplainedPrediction(
            pixels=pixels.numpy(),
            prediction=prediction,
            is_novel=None if threshold is None else bool(is_novel(logits, threshold)),
            explained=prediction.label if label is None else explained,
            evidence=evidence,
            stage=stage,
        )

    def mistakes(
        self, true: str = ANY_CLASS, predicted: str = ANY_CLASS, page: int = 1, options: MapOptions = MapOptions()
    ) -> MistakesPage:
        """Return a page of misclassified test images.

        Args:
            true: Only images of this class, or "any".
            predicted: Only images classified as this class, or "any".
            page: Number of the page, from 1; a number that is too large selects the last page.
            options: Options of the evidence maps.

        Raises:
            UsageError: There is no such class, method or stage.
        """
        return self._page(true, predicted, page, options)

    def _make_page(self, true: str, predicted: str, page: int, options: MapOptions) -> MistakesPage:
        which = MistakeFilter(
            count=None,
            true=None if true == ANY_CLASS else true,
            predicted=None if predicted == ANY_CLASS else predicted,
        )
        rows = which.rows(self._predictions, self.class_names)
        num_pages = max(1, -(-len(rows) // PAGE_SIZE))
        page = min(max(page, 1), num_pages)
        mistakes = mistakes_at(self._predictions, rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE])
        return MistakesPage(self._explain(mistakes, options), page, num_pages, len(rows), len(self._predictions))

    def _explain(self, mistakes: Sequence[Mistake], options: MapOptions) -> list[ExplainedMistake]:
        method = self._method(options.method) if mistakes and options.method is not None else None
        stage = None if method is None else self._stage(options.stage)
        with self._lock:
            return explain_mistakes(self.bundle.network, self.bundle.mistakes.images, mistakes, method, stage)

    def _method(self, method: str) -> str:
        """Return a method after checking that it is offered; requests must not start the slow ones."""
        if method not in self.methods:
            raise UsageError(f"no method is called {method!r}: choose one of {', '.join(self.methods)}")
        return method

    def _stage(self, stage: str | None) -> str | None:
        """Return a stage after checking that it is a named one; requests must not name other modules of the network."""
        if stage is not None and stage not in self.stages:
            raise UsageError(f"no stage is called {stage!r}: choose one of {', '.join(self.stages)}")
        return stage
