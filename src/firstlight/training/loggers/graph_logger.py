"""TensorBoard with the model graph, also of compiled models."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from firstlight.compiled import without_compiled_code


class GraphLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, which draws the graph of a compiled model without its compiled code."""

    def log_graph(  # type: ignore[override]  # as in the base class
        self, model: pl.LightningModule, input_array: Tensor | None = None
    ) -> None:
        """Write the graph of a model; see `TensorBoardLogger.log_graph`."""
        with without_compiled_code(model):
            super().log_graph(model, input_array)
