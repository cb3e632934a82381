"""Test a run on labelled images other than its own test split, without changing its predictions and results."""

from __future__ import annotations

import json
import logging
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firstlight.data.exact_copies import first_copies
from firstlight.data.hub_columns import Columns
from firstlight.data.images import ImageSet, with_class_names
from firstlight.data.source import Source, open_source
from firstlight.errors import DataError, FirstlightError, RunError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR, user_path
from firstlight.reports.class_report import save_class_report
from firstlight.runs.environment import describe_environment
from firstlight.runs.run import Run
from firstlight.runs.run_files import EnvironmentFields
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier
from firstlight.training.save_run import exact_metrics
from firstlight.training.trainer import Trainer
from firstlight.typed_json import read_json
from firstlight.whole_folder import whole_folder

FOLDER = "tests"  # of the results, below the run folder
RESULTS = "results.json"
MAX_NAME = 80  # characters of a folder's name


@dataclass(frozen=True)
class ExternalTest:
    """Results of a run on images other than its own test split.

    Args:
        path: Folder with `results.json`, `predictions.npz`, `environment.json`, the confusion matrix and figures.
        data_name: Name of the images.
        results: Content of `results.json`.
    """

    path: Path
    data_name: str
    results: dict[str, Any]


def is_own_test(
    run: Run, data_dir: Path | str | None = None, data: str | None = None, columns: Columns = Columns()
) -> bool:
    """Return whether the named data set is the run's own, perhaps in another folder.

    A data set in another folder is the run's own if its test images have the digest in the run's `environment.json`.
    The folder that the run names is always the run's own, even if its images have changed.

    Args:
        run: Run that names its data set.
        data_dir: Folder of the data; None for the run's.
        data: Name of the data set; None for the run's.
        columns: Columns of a Hugging Face data set that the user named.
    """
    if data_dir is None and data in (None, run.recipe.data) and columns in (Columns(), run.recipe.columns):
        return True
    source = _open(run, data_dir, data, columns)
    if source.columns not in (Columns(), run.recipe.columns):
        return False
    if source.name != run.recipe.data:
        return False
    if not source.adapts_recipe and data_dir is None:
        return True
    if source.data_dir.resolve() == user_path(run.data["place"]).resolve():
        return True
    expected = run.data.get("digests", {}).get("test")
    if expected is None:
        return not source.adapts_recipe
    try:
        return source.test().digest() == expected
    except DataError:  # a folder with too few images to split off a test, or a data set that is not there
        return not source.adapts_recipe


def external_test(
    run: Run,
    data_dir: Path | str | None = None,
    data: str | None = None,
    out: Path | str | None = None,
    columns: Columns = Columns(),
    **trainer_options: Any,
) -> ExternalTest:
    """Test a run on other labelled images, and write the results to a folder of their own.

    The classes are matched by name, in any order; the images may lack some of them. The test uses the test split of a
    data set, but all images of a folder without splits. If the run's own data can be read, a warning tells how many
    of the tested images the run was trained or validated on.

    Args:
        run: Run with weights.
        data_dir: Folder with one folder of images per class, or the folder of the data set; None for the run's.
        data: Name of a data set; None for the run's, or for a folder of images.
        columns: Columns of a Hugging Face data set that the user named.
        out: Folder of the results; None for `tests/<name of the data>` in the run folder.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`.

    Raises:
        DataError: The data are missing or malformed, or have a class that the run does not know.
        UsageError: `out` holds files other than the results of such a test.
        FirstlightError: The folder cannot be written.
    """
    images = _ExternalData(run, data_dir, data, columns)
    images.prepare_data()
    images.setup("test")
    _log_differences(run, images.test)
    description = images.describe()
    path = user_path(out) if out is not None else _default_path(run, description)
    _refuse_other_files(path)
    module = Classifier(run.network, run.recipe)
    module.temperature = run.temperature
    trainer = Trainer(logger=False, enable_checkpointing=False, **({"callbacks": []} | trainer_options))
    metrics = dict(trainer.test(module, datamodule=images, verbose=False)[0])
    assert module.test_predictions is not None
    metrics |= exact_metrics(module.test_predictions)
    results: dict[str, Any] = metrics
    if trainer.is_global_zero:
        with whole_folder(path, overwrite=True) as folder:
            module.test_predictions.save(folder / "predictions.npz")
            sheet = MisclassifiedImages(folder / "misclassified.png")
            sheet.on_test_end(trainer, module)
            results = metrics | save_class_report(run, module.test_predictions, folder)
            environment = describe_environment() | {"data": description, "precision": str(trainer.precision)}
            (folder / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
            (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return ExternalTest(path, str(description["name"]), results)


class _ExternalData(ImageData):
    """Test batches of images other than the run's, with the run's class indices as labels."""

    def __init__(self, run: Run, data_dir: Path | str | None, data: str | None, columns: Columns) -> None:
        source = _open(run, data_dir, data, columns)
        self._class_names = run.class_names
        size = run.size_px[0] if source.adapts_recipe else 0
        image_column, label_column = source.columns
        recipe = replace(run.recipe, data=source.name, image_size=size)
        super().__init__(replace(recipe, image_column=image_column, label_column=label_column), source.data_dir)

    def setup(self, stage: str = "test") -> None:
        """Load the images, once."""
        if not hasattr(self, "test"):
            self.test = with_class_names(self.source.external_test(), self._class_names)


def _open(run: Run, data_dir: Path | str | None, data: str | None, columns: Columns) -> Source:
    own_folder = DEFAULT_DATA_DIR if data is not None and run.recipe.data == "folder" else run.data["place"]
    folder = user_path(data_dir if data_dir is not None else own_folder)
    if data is None and data_dir is None and not any(columns):
        columns = run.recipe.columns
    source = open_source(
        data or run.recipe.data, folder, run.recipe.image_size, is_named=data is not None, columns=columns
    )
    return open_source(source.name, folder, run.size_px[0], columns=columns) if source.adapts_recipe else source


def _log_differences(run: Run, images: ImageSet) -> None:
    """Log classes without images, another image size, and the number of images that the run was trained on."""
    log = logging.getLogger("firstlight")
    counts = images.labels.bincount(minlength=len(images.class_names)).tolist()
    absent = [name for name, count in zip(images.class_names, counts, strict=True) if not count]
    if absent:
        log.info(f"{images.name}: has no image of {', '.join(absent[:10])}{' and others' * (len(absent) > 10)}")
    if images.size_px != run.size_px:
        sizes = ["x".join(map(str, size)) for size in (images.size_px, run.size_px)]
        log.warning(f"warning: {images.name}: the images are {sizes[0]} pixels; the run was trained on {sizes[1]}")
        return
    try:
        own = ImageData.of_run(run).source.train()
    except (FirstlightError, OSError):  # the run's own data have moved
        return
    if own.size_px != images.size_px:
        return
    first = first_copies(own.pixels, images.pixels)
    num_own = len(first) - len(images)
    num_seen = int((first[num_own:] < num_own).sum())
    if num_seen:
        log.warning(
            f"warning: {num_seen:,} of {len(images):,} images have the pixels of an image that the run was trained "
            "or validated on; accuracy on them says nothing about new images"
        )


def _default_path(run: Run, description: dict[str, Any]) -> Path:
    """Return `tests/<name>`, with the digest of the images in the name if another data set has that name already."""
    digest = str(description["digests"]["test"])
    path = run.path / FOLDER / _file_name(str(description["name"]))
    try:
        before = read_json(path / "environment.json", EnvironmentFields, "it is replaced")
        known = before.get("data", {}).get("digests", {}).get("test", digest)
    except RunError:  # missing or damaged
        known = digest
    return path if known == digest else path.with_name(f"{path.name}-{digest[:8]}")


def _file_name(name: str) -> str:
    """Return the name as a valid file name for every system: forbidden characters become underscores.

    >>> _file_name("my photos/2"), _file_name("..")
    ('my photos_2', 'data')
    """
    kept = "".join(c if c not in '/\\:*?"<>|' and unicodedata.category(c)[0] != "C" else "_" for c in name)
    return kept[:MAX_NAME].strip(". ") or "data"


def _refuse_other_files(path: Path) -> None:
    """Raise UsageError if a path holds anything but the results of an external test."""
    is_own = (path / RESULTS).is_file() and not (path / "recipe.yaml").exists()
    if path.exists() and not is_own and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path}: holds other files, which the results would replace; name a new folder with --out")
