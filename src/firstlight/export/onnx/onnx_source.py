"""A model to export to ONNX: a bundle, or a run whose network is a class outside firstlight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from firstlight.arrays import Images
from firstlight.data.source import Source, open_source
from firstlight.export.bundle import Bundle
from firstlight.networks.network_config import CustomNetworkConfig
from firstlight.paths import DEFAULT_DATA_DIR
from firstlight.runs.predictor import Predictor
from firstlight.runs.run import Run
from firstlight.training.retest import load_test_images

NUM_IMAGES = 256


@dataclass(frozen=True, eq=False)
class OnnxSource:
    """A model to export, the texts for the metadata of the file, and the images for its check.

    Args:
        model: The model.
        title: Name of the model for readers.
        images: Up to 256 test images, uint8 [n 3 h w].
        facts: Texts for the metadata of the file: "data", "recipe" and, if one was given, "license".
        data_name: Name of the data set, a key of `firstlight.data.source.SOURCES`.
        image_size: Image size of the recipe; 0 for the data set's own.
        data_dir: Folder of the data set; None if it is not known.
    """

    model: Predictor
    title: str
    images: Images
    facts: dict[str, str]
    data_name: str
    image_size: int = 0
    data_dir: Path | None = None

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> OnnxSource:
        """Return a bundle as a source. If it lies in a run folder, its data set is that of the run."""
        recipe, measured, run_path = bundle.config.recipe, bundle.measured, bundle.path.parent
        names = {"data": measured["data"], "recipe": recipe.get("name"), "license": measured.get("license")}
        return cls(
            model=bundle,
            title=bundle.title,
            images=_first_images(bundle),
            facts={name: str(value) for name, value in names.items() if value is not None},
            data_name=str(recipe.get("data", measured["data"])),
            image_size=int(recipe.get("image_size", 0)),
            data_dir=Path(Run(run_path).data["place"]) if (run_path / "recipe.yaml").is_file() else None,
        )

    @classmethod
    def of_run(cls, run: Run, data_dir: Path | str | None = None) -> OnnxSource:
        """Return a run as a source; its weights are not rounded.

        Raises:
            DataError: The data set is missing.
        """
        data = load_test_images(run, data_dir)
        return cls(
            model=run,
            title=f"{type(run.network).__name__} on {run.data['name']}, recipe {run.recipe.name}",
            images=data.test[:NUM_IMAGES].images,
            facts={"data": str(run.data["name"]), "recipe": run.recipe.name},
            data_name=run.recipe.data,
            image_size=run.recipe.image_size,
            data_dir=data.data_dir,
        )

    def open_data(self, data_dir: Path | str | None = None) -> Source:
        """Open the data set of the model, in the given folder or in the one that is known.

        Raises:
            DataError: The folder does not exist.
        """
        return open_source(self.data_name, data_dir or self.data_dir or DEFAULT_DATA_DIR, self.image_size)


def has_own_network(run: Run) -> bool:
    """Whether the network of a run is a class outside firstlight."""
    return isinstance(run.recipe.network, CustomNetworkConfig)


def _first_images(bundle: Bundle) -> Images:
    """Return up to 256 test images of a bundle: the examples, then misclassified ones."""
    return torch.cat([bundle.examples.images, bundle.mistakes.images.images])[:NUM_IMAGES]
