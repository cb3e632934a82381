"""A run's data when --data_dir names a folder of the user's own images."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import firstlight
from firstlight.data.folder import open_layout
from firstlight.data.folder.layout import Layout, find_layout
from firstlight.data.images import ImageSet
from firstlight.data.source import open_source
from firstlight.errors import DataError, UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.training.adapt_recipe import adapt_recipe, workable_batch_size
from firstlight.training.build import build
from firstlight.training.data_module import ImageData
from firstlight.training.retest import retest
from reference.batch_files import binary_batch
from reference.photo_folders import COLOURS, make_folder, save_photo

SMALL = Recipe(name="own", network=ResNet9Config(width=4), max_epochs=2)
QUIET = {"logger": "none", "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_few_steps_are_announced_with_a_number_of_epochs_that_is_enough() -> None:
    """Of 40 images, 36 are trained on: five steps of 8 an epoch, ten in two epochs."""
    labels = torch.arange(40) % 2
    images = ImageSet(torch.zeros(40, 3, 16, 16, dtype=torch.uint8), labels, ("red", "green"))
    recipe, lines = adapt_recipe(replace(SMALL, num_val=20), images, None)
    assert (recipe.num_val, recipe.batch_size) == (4, 8)
    assert lines[-1] == "2 epochs of 36 images are only 10 training steps: more may help, for instance 60 epochs"
    assert "training steps" not in str(adapt_recipe(replace(SMALL, num_val=20, max_epochs=60), images, None)[1])


def test_the_recipe_for_few_images_is_named_unless_another_was_chosen() -> None:
    labels = torch.arange(40) % 2
    images = ImageSet(torch.zeros(40, 3, 16, 16, dtype=torch.uint8), labels, ("red", "green"))
    said = "about 20 training images of each class are few: --recipe small is made for up to 500"
    assert said in adapt_recipe(get_recipe("adam24"), images, None)[1]
    for recipe in (get_recipe("small"), get_recipe("demo"), SMALL, replace(get_recipe("adam24"), init="bundled")):
        assert said not in adapt_recipe(recipe, images, None)[1]
    many = ImageSet(torch.zeros(1002, 3, 16, 16, dtype=torch.uint8), torch.arange(1002) % 2, ("red", "green"))
    assert "--recipe small" not in str(adapt_recipe(get_recipe("adam24"), many, None)[1])


def test_a_folder_replaces_the_data_of_a_built_in_recipe_as_in_the_shell(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    demo = replace(get_recipe("demo"), max_epochs=1, network=ResNet9Config(width=2))
    options = {"limit_train_batches": 1, "limit_test_batches": 1, **QUIET}
    run = firstlight.fit(demo, root, tmp_path / "logs", **options)
    assert (run.recipe.data, run.class_names) == ("folder", ("green", "red"))
    named = firstlight.fit(replace(demo, data="watermark"), root, tmp_path / "logs", **options)
    assert named.recipe.data == "watermark"
    with pytest.raises(DataError, match="no such folder"):
        firstlight.fit(demo, tmp_path / "phoots", tmp_path / "logs", **options)


def loaded(recipe: Recipe, data_dir: Path) -> ImageData:
    data = ImageData(recipe, data_dir)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def test_the_layout_is_read_once_for_fit_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots: list[Path] = []

    def recorded(path: Path, *, splits_off_test: bool = True) -> Layout:
        roots.append(path)
        return find_layout(path, splits_off_test=splits_off_test)

    monkeypatch.setattr(open_layout, "find_layout", recorded)
    root = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    trainer = firstlight.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    module, data = build(SMALL, root)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert roots == [root]


@pytest.mark.parametrize("name", ["cifar10", "folder"])
def test_a_folder_of_classes_is_recognized(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    data = loaded(Recipe(data=name, seed=3), root)
    assert data.recipe.data == "folder"
    assert data.train.class_names == ("green", "red")
    assert data.describe()["name"] == "photos"
    assert sorted(each.name for each in root.iterdir()) == ["green", "red"], "something was downloaded or written"


@pytest.mark.parametrize("name", ["drawn", "cifar100", "cifar100-coarse"])
def test_a_named_data_set_is_not_replaced_by_a_folder_of_images(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path / "photos", {"red": 3, "green": 3})
    assert ImageData(Recipe(data=name), root).recipe.data == name
    assert open_source(name, root, is_named=False).name == "folder"


def test_an_existing_data_set_has_priority_over_folders_of_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"red": 3, "green": 3})
    (root / "cifar-10-batches-bin").mkdir()
    (root / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"")
    assert ImageData(Recipe(), root).recipe.data == "cifar10"
    shutil.rmtree(root / "cifar-10-batches-bin")
    (root / "cifar-10-binary.tar.gz.part").write_bytes(b"")
    assert ImageData(Recipe(), root).recipe.data == "cifar10"


def test_images_that_are_not_sorted_are_refused_before_anything_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not in a folder for each of two classes"):
        ImageData(Recipe(), make_folder(tmp_path, {"red": 3}))


def test_a_tenth_is_held_out_if_num_val_is_too_large(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder(tmp_path / "photos", {"train/red": 60, "train/green": 40, "test/red": 2})
    with caplog.at_level(logging.INFO, "firstlight"):
        data = loaded(SMALL, root)
    assert (data.recipe.num_val, len(data.train), len(data.val)) == (10, 90, 10)
    assert data.val.labels.bincount().tolist() == [4, 6]
    assert (
        "num_val 5000 is more than a third of 100 images: 10 of them (10 %) are kept for validation" in caplog.messages
    )
    assert loaded(data.recipe, root).val.ids.tolist() == data.val.ids.tolist(), "the recorded recipe splits otherwise"


def test_a_possible_num_val_is_not_changed(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/red": 60, "train/green": 40, "test/red": 2})
    for num_val, expected in ((33, 33), (34, 10), (0, 0)):
        assert len(loaded(Recipe(num_val=num_val), root).val) == expected


def test_validation_depends_on_the_seed_and_the_test_does_not(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"red": 40, "green": 40})
    one, same, other = (loaded(Recipe(seed=seed), root) for seed in (0, 0, 1))
    assert one.val.digest() == same.val.digest() != other.val.digest()
    assert one.test.digest() == other.test.digest()
    whole = torch.cat([one.train.ids, one.val.ids]).sort().values
    assert whole.tolist() == list(range(64))


def test_the_users_own_validation_images_are_used(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/red": 9, "train/green": 9, "valid/red": 2, "valid/green": 3})
    data = loaded(Recipe(), root)
    assert data.recipe.num_val == 0
    assert data.val.labels.bincount().tolist() == [3, 2]
    assert len(data.train) + len(data.test) == 18


@pytest.mark.parametrize(
    ("num_images", "batch_size", "expected"),
    [(40, 512, 8), (700, 512, 32), (700, 64, 64), (700, 128, 32), (3000, 512, 128), (200, 4, 4), (700, 16, 16)],
)
def test_the_batch_size_is_reduced_for_a_small_folder(num_images: int, batch_size: int, expected: int) -> None:
    assert workable_batch_size(batch_size, num_images) == expected
    assert expected == batch_size or num_images / expected >= 5


def test_changed_settings_are_printed_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder(tmp_path / "photos", {"red": 60, "green": 20})
    with caplog.at_level(logging.INFO, "firstlight"):
        recipe = loaded(SMALL, root).recipe
    assert (recipe.data, recipe.image_size, recipe.num_val, recipe.batch_size) == ("folder", 32, 6, 8)
    said = "\n".join(caplog.messages)
    assert "a folder for each of 2 classes (green, red)" in said
    assert "imbalance: green has 16 training images" in said
    assert "batch_size 512 gives too few steps per epoch with 58 images: 8 is used" in said
    assert ImageData(recipe, root).recipe == recipe


def test_a_class_whose_only_image_would_be_for_validation_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/red": 1, "train/green": 1, "train/blue": 1, "test/red": 1})
    assert len(loaded(Recipe(num_val=0), root).train) == 3
    with pytest.raises(DataError, match="the validation split takes the only images of 'blue'"):
        loaded(Recipe(num_val=1), root)


def test_the_image_size_can_be_set_for_folders_only(tmp_path: Path, tiny: str) -> None:
    root = make_folder(tmp_path / "photos", {"red": 10, "green": 10})
    data = loaded(Recipe(image_size=48), root)
    assert data.train.size_px == data.val.size_px == data.test.size_px == (48, 48)
    with pytest.raises(UsageError, match="image_size 48 is for folders of images: those of tiny are 16x16"):
        ImageData(Recipe(data=tiny, image_size=48)).setup("fit")
    with pytest.raises(UsageError, match="image_size must be 16 to 512 pixels, or 0, not 15"):
        Recipe(image_size=15)


@pytest.mark.parametrize("image_size", [16, 50])
def test_a_run_learns_the_classes_and_stores_their_names_and_the_image_size(tmp_path: Path, image_size: int) -> None:
    root = make_folder(tmp_path / "photos", {"red": 40, "green": 40, "blue": 40})
    recipe = Recipe(name="s", network=ResNet9Config(width=4), max_epochs=3, image_size=image_size)
    run = firstlight.fit(recipe, root, tmp_path / "logs", **QUIET)
    assert run.class_names == ("blue", "green", "red")
    assert run.size_px == (image_size, image_size)
    assert run.recipe.data == "folder"
    assert run.results["test_acc"] > 0.8
    assert run.environment["data"]["num_images"] == {"train": 86, "val": 10, "test": 24}
    save_photo(tmp_path / "new.jpg", COLOURS["green"], seed=77, size=(300, 200))
    assert run.predict(tmp_path / "new.jpg").label == "green"
    assert retest(run, enable_progress_bar=False)["test_acc"] == pytest.approx(run.results["test_acc"])
    root.rename(tmp_path / "moved")
    assert retest(run, tmp_path / "moved", enable_progress_bar=False)["test_acc"] == run.results["test_acc"]


def test_normalization_uses_the_train_images_own_statistics(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    run = firstlight.fit(SMALL, root, tmp_path / "logs", **QUIET)
    pixels = loaded(run.recipe, root).train.images.numpy() / 255
    assert run.network.normalize.mean.flatten().tolist() == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-6)
    assert run.network.normalize.std.flatten().tolist() == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-6)


def test_the_exercises_model_trains_on_a_folder_and_reports_its_number_of_classes(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    trainer = firstlight.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(UsageError, match=r"photos train has 2 classes: use CustomResNet\(num_classes=2\)"):
        trainer.fit(firstlight.CustomResNet(data_dir=root, network=ResNet9Config(width=4)))
    model = firstlight.CustomResNet(data_dir=root, num_classes=2, network=ResNet9Config(width=4))
    trainer = firstlight.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    assert len(model.test_predictions) == 8


@pytest.mark.filterwarnings("ignore:.*not the official release.*")
def test_a_cifar10_that_is_not_the_release_is_trained_on_with_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        pixels = random.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
        (folder / name).write_bytes(binary_batch(pixels, [i % 10 for i in range(20)]))
    recipe = Recipe(name="s", num_val=20, network=ResNet9Config(width=2), max_epochs=1, batch_size=32)
    with pytest.warns(UserWarning, match=r"test_batch\.bin: well formed, but not the official release"):
        run = firstlight.fit(recipe, tmp_path, tmp_path / "logs", **QUIET)
    assert run.recipe.data == "cifar10"
    assert len(run.predictions) == 20
