"""Test a trained run, again or for the first time."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from firstlight.data.folds import split_fold
from firstlight.data.images import ImageSet, split_stratified
from firstlight.errors import DataError, FirstlightError
from firstlight.reports.class_report import save_class_report
from firstlight.runs.run import Run
from firstlight.training.calibrate_network import calibrate_network
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier
from firstlight.training.save_run import exact_metrics
from firstlight.training.trainer import Trainer

_log = logging.getLogger("firstlight")


def retest(run: Run, data_dir: Path | str | None = None, **trainer_options: Any) -> dict[str, float]:
    """Test the run's weights on its data set's test split, and write `predictions.npz` again.

    The test also writes the metrics of each class again: `results.json`, `confusion.csv`, `confusion.png` and
    `reliability.png`. A run that has never been tested also gets the sheet of its mistakes, and its accuracy and loss
    in `results.json`. A run without a calibration, for instance one of an older version of firstlight, is calibrated on
    its validation images if there are any.

    Args:
        run: Run with weights.
        data_dir: Folder of its data set, if it has moved.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`.

    Returns:
        `test_acc` in [0, 1] and `test_loss` of a single view; also `test_acc_tta` if the recipe names more views.

    Raises:
        RunError: The run is incomplete or damaged.
        DataError: The data set is missing or malformed, or has other classes.
    """
    data = load_test_images(run, data_dir)
    module = Classifier(run.network, run.recipe)
    trainer = Trainer(logger=False, enable_checkpointing=False, **({"callbacks": []} | trainer_options))
    metrics = dict(trainer.test(module, datamodule=data, verbose=False)[0])
    assert module.test_predictions is not None
    if trainer.is_global_zero:
        _calibrate(run, data)
        module.temperature = run.temperature
        if not (run.path / "predictions.npz").is_file():
            MisclassifiedImages(run.path / "misclassified.png").on_test_end(trainer, module)
        module.test_predictions.save(run.path / "predictions.npz")
    metrics |= exact_metrics(module.test_predictions)
    if trainer.is_global_zero:
        class_results = save_class_report(run, module.test_predictions)
        if run.is_finished:
            untested = "test_acc" not in run.results
            run.save_json("results.json", run.results | (metrics if untested else {}) | class_results)
    return metrics


def _calibrate(run: Run, data: ImageData) -> None:
    """Add a calibration to the run's weights if they have none and the validation images of the training are there."""
    if run.calibration is not None:
        return
    try:
        data.setup("validate")
    except FirstlightError as error:
        _log.info(f"{run.path} stays uncalibrated, because its validation images cannot be loaded: {error}")
        return
    if not len(data.val):
        return
    expected = run.data.get("digests", {}).get("val")
    if expected is not None and expected != data.val.digest():
        _log.info(
            f"{run.path} stays uncalibrated: the validation images in {data.data_dir} are not those of its training"
        )
        return
    calibration = calibrate_network(run.network, data)
    if calibration is not None:
        run.save_weights(run.network, data.test, calibration)
        _log.info(
            f"calibrated on {calibration.num_images:,} validation images: temperature {calibration.temperature:.2f}"
        )


def load_test_images(run: Run, data_dir: Path | str | None = None) -> ImageData:
    """Load the test split of a run's data set, and warn if the images are not those that the run was tested on.

    Args:
        run: Run that names the data set.
        data_dir: Folder of the data set, if it has moved.

    Raises:
        RunError: The run does not name its data set.
        DataError: The data set is missing or malformed, or has other classes than the run.
    """
    data = ImageData.of_run(run, data_dir)
    data.setup("test")
    if data.test.class_names != run.class_names:
        raise DataError(f"{data.data_dir}: its classes are not the run's; give the run's data set with --data_dir")
    expected = run.data.get("digests", {}).get("test")
    if expected is not None and expected != data.test.digest():
        warnings.warn(f"{data.data_dir}: the test images are not the ones that {run.path} was tested on", stacklevel=2)
    return data


def load_train_images(run: Run, data: ImageData) -> ImageSet:
    """Load the images on which a run was trained, and warn if they have changed.

    Args:
        run: Run that names the data set.
        data: Data of the run, from `load_test_images`.

    Returns:
        The training images, without the images that were split off for validation or the fold that the run left out.

    Raises:
        DataError: The data set is missing or malformed.
    """
    whole = data.source.train()
    if data.fold is not None:
        train, _ = split_fold(whole, data.fold)
    else:
        train, _ = split_stratified(whole, run.recipe.num_val, run.recipe.seed)
    expected = run.data.get("digests", {}).get("train")
    if expected is not None and expected != train.digest():
        warnings.warn(f"{data.data_dir}: the training images are not the ones of {run.path}", stacklevel=2)
    return train
