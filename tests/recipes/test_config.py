from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Augmentation
from firstlight.errors import FirstlightError, RunError, UsageError
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from reference.unchecked import without_type_checks

UNUSUAL = Recipe(
    name="unusual",
    data="drawn",
    image_column="img",
    label_column="fine_label",
    num_val=17,
    image_size=48,
    network=SpeedNetConfig(width=3, head_scale=0.5, norm_momentum=0.2),
    augmentation=Augmentation(
        crop_px=2,
        flip="alternating",
        cutout_px=7,
        trivial_augment=True,
        erasing=0.5,
        mixup=0.2,
        cutmix=1.0,
        mixed_share=0.5,
    ),
    resizing=ProgressiveResizing(
        "crop", initial_scale=0.4, delay_fraction=0.3, finetune_fraction=0.1, size_increment_px=2
    ),
    optimizer=OptimizerConfig(
        "sgd", learning_rate=1e-5, head_rate=0.3, schedule="one_cycle", momentum=0.85, weight_decay=5e-4
    ),
    hardest_share=0.4,
    gradient_share=0.7,
    averaging=0.99,
    label_smoothing=0.2,
    class_weights="balanced",
    views_margin=0.5,
    views="flip",
    init="bundled",
    init_body_rate=0.2,
    init_frozen_stages=1,
    max_epochs=3,
    stop_after=2,
    keep="best",
    judge_by="val_acc",
    batch_size=31,
    seed=4,
)


def test_the_defaults_are_the_exercise() -> None:
    recipe = Recipe()
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate, recipe.optimizer.schedule) == (
        "adam",
        0.001,
        "constant",
    )
    assert (recipe.max_epochs, recipe.num_val, recipe.network.width) == (24, 5000, 64)
    assert recipe.augmentation == Augmentation(crop_px=4, flip="random", cutout_px=0)
    assert (recipe.optimizer.weight_decay, recipe.label_smoothing) == (0, 0)


FAST = Recipe(optimizer=MuonConfig(learning_rate=0.2, whitening_epochs=1.5), network=SpeedNetConfig(width=8))


@pytest.mark.parametrize("recipe", [Recipe(), UNUSUAL, FAST], ids=["default", "unusual", "fast"])
def test_a_recipe_is_read_back_from_its_file_unchanged(tmp_path: Path, recipe: Recipe) -> None:
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    found = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert found["optimizer"]["learning_rate"] == recipe.optimizer.learning_rate
    assert list(found) == [field.name for field in dataclasses.fields(Recipe)]


def test_every_field_differs_in_the_unusual_recipe() -> None:
    assert not {name for name, value in UNUSUAL.flat().items() if Recipe().flat().get(name) == value}


def test_fields_that_a_file_leaves_out_have_their_defaults(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("max_epochs: 2\noptimizer:\n  learning_rate: 1\n")
    found = Recipe.load(tmp_path / "recipe.yaml")
    assert found == Recipe(max_epochs=2, optimizer=OptimizerConfig(learning_rate=1.0))
    assert type(found.optimizer.learning_rate) is float


def test_the_flat_form_has_dotted_names() -> None:
    flat = UNUSUAL.flat()
    assert flat["optimizer.momentum"] == 0.85
    assert flat["augmentation.flip"] == "alternating"
    assert flat["network.width"] == 3
    assert flat["seed"] == 4
    assert not any(isinstance(value, dict) for value in flat.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("learning_rat: 1", "a recipe has no field learning_rat"),
        ("optimizer: {lr: 1, beta: 2}", "optimizer has no field beta, lr"),
        ("1: 2", "a recipe has no field 1"),
        ("? |\n  two\n  lines\n: 2", "a recipe has no field two"),
        ("network: 64", "network needs named values, not int"),
        ("network:", "network needs named values, not NoneType"),
        ("- max_epochs", "a recipe needs named values, not list"),
        ("", "a recipe needs named values, not NoneType"),
        ("max_epochs: 0", "max_epochs must be 1 to 1,000,000, not 0"),
        ("resizing: {initial_scale: 2}", "resizing.initial_scale must be 0.1 to 1, not 2"),
        ("resizing: {finetune_fraction: a}", "resizing.finetune_fraction must be of type float, not 'a'"),
        ("max_epochs: '24'", "max_epochs must be of type int, not '24'"),
        ("max_epochs: 24.0", "max_epochs must be of type int, not 24.0"),
        ("max_epochs: true", "max_epochs must be of type int, not True"),
        ("max_epochs:", "max_epochs must be of type int, not None"),
        ("batch_size: [512]", "batch_size must be of type int, not [512]"),
        ("seed: x", "seed must be of type int, not 'x'"),
        ("data: 10", "data must be of type str, not 10"),
        ("optimizer: {learning_rate: 1e-3}", "optimizer.learning_rate must be of type float, not '1e-3'"),
        ("optimizer: {learning_rate: 1" + "0" * 400 + "}", "int too large to convert to float"),
        ("optimizer: {learning_rate: .nan}", "learning_rate must be above 0, not nan"),
        ("optimizer: {learning_rate: .inf}", "learning_rate must be above 0, not inf"),
        ("optimizer: {learning_rate: -0.1}", "learning_rate must be above 0, not -0.1"),
        ("optimizer: {name: adamw}", "name must be one of adam, sgd, muon, not 'adamw'"),
        ("optimizer: {schedule: cosine}", "optimizer.schedule must be one of constant, one_cycle, not 'cosine'"),
        ("optimizer: {schedule: {a: 1}}", "schedule must be one of constant, one_cycle"),
        ("optimizer: {weight_decay: -1}", "weight_decay must be 0 or more, not -1"),
        ("optimizer: {momentum: .nan}", "momentum must be 0 or more, not nan"),
        (
            "augmentation: {flip: vertical}",
            "augmentation.flip must be one of none, random, alternating, not 'vertical'",
        ),
        ("augmentation: {crop_px: -1}", "augmentation.crop_px and augmentation.cutout_px must be 0 or more"),
        ("image_size: 8", "image_size must be 16 to 512 pixels, or 0, not 8"),
        ("network: {width: 0}", "network.width must be 1 to 1,024, not 0"),
        ("network: {name: vgg}", "network.name must be one of resnet9, speednet, not 'vgg'"),
        ("network: {name: speednet, head_scale: x}", "network.head_scale must be of type float, not 'x'"),
        ("network: {head_scale: 1.0}", "network has no field head_scale"),
        ("optimizer: {name: muon, head_rate: 0}", "head_rate must be above 0, not 0"),
        ("views: many", "views must be one of single, flip, flip_shift, flip_star, not 'many'"),
        ("a: [1", "cannot be read as a recipe"),
        ("a: !!python/object/apply:os.system ['true']", "cannot be read as a recipe"),
        ("name: 2001-99-99", "cannot be read as a recipe"),
        ("a: \x00", "cannot be read as a recipe"),
        ("[" * 1000, "cannot be read as a recipe"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line_that_names_both(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with without_type_checks(), pytest.raises(RunError) as refused:
        Recipe.load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert found in message
    assert len(message.splitlines()) == 1


def test_aliases_that_multiply_do_not_make_a_long_message(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join([*levels, "seed: *a39"]))
    with pytest.raises(RunError, match="a recipe has no field a0") as refused:
        Recipe.load(path)
    path.write_text("seed: [&a0 [x, x], " + ", ".join(f"&a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)) + "]")
    with pytest.raises(RunError, match="seed must be of type int") as refused:
        Recipe.load(path)
    assert len(str(refused.value)) < 1000


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(RunError) as refused:
            Recipe.load(path)
        assert str(path) in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"max_epochs": 0}, "max_epochs must be 1 to 1,000,000"),
        ({"batch_size": -5}, "batch_size must be 1 to 1,000,000"),
        ({"num_val": -1}, "num_val must be 0 or more"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be at least 0 and below 1"),
        ({"optimizer": OptimizerConfig(learning_rate=0.0)}, "learning_rate must be above 0"),
        ({"optimizer": OptimizerConfig(weight_decay=-0.1)}, "weight_decay must be 0 or more"),
        ({"optimizer": OptimizerConfig(head_rate=0.0)}, "head_rate must be above 0"),
        ({"optimizer": MuonConfig(bias_rate=0.0)}, "bias_rate must be above 0"),
        ({"name": "a\x1b[2J"}, r"name has control characters: 'a\\x1b\[2J'"),
        ({"seed": -1}, "seed must be 0 to 4,294,967,295, not -1"),
        ({"seed": 2**32}, "seed must be 0 to 4,294,967,295, not 4,294,967,296"),
        ({"batch_size": 10**9}, "batch_size must be 1 to 1,000,000, not 1,000,000,000"),
        ({"network": SpeedNetConfig(width=10**12)}, "network.width must be 1 to 1,024, not 1,000,000,000,000"),
        ({"hardest_share": 1e-9}, "hardest_share must be 0.01 to 1, not 1e-09"),
        ({"hardest_share": 0.0}, "hardest_share must be 0.01 to 1"),
        ({"hardest_share": 1.1}, "hardest_share must be 0.01 to 1"),
        ({"gradient_share": 0.0}, "gradient_share must be 0.01 to 1"),
        ({"gradient_share": 1.1}, "gradient_share must be 0.01 to 1"),
        ({"averaging": 1.0}, "averaging must be at least 0 and below 1"),
        ({"network": ResNet9Config(width=-1)}, "network.width must be 1 to 1,024, not -1"),
        ({"network": SpeedNetConfig(width=0)}, "network.width must be 1 to 1,024, not 0"),
        ({"network": SpeedNetConfig(head_scale=0.0)}, "network.head_scale must be above 0, not 0"),
        ({"network": SpeedNetConfig(head_scale=float("inf"))}, "network.head_scale must be above 0, not inf"),
        ({"network": SpeedNetConfig(deep_groups=4)}, "network.deep_groups must be 0 to 3, not 4"),
        ({"network": SpeedNetConfig(patch_directions=13)}, "network.patch_directions must be 1 to 12"),
        ({"network": SpeedNetConfig(norm_momentum=0.0)}, "network.norm_momentum must be above 0 and at most 1"),
        ({"network": SpeedNetConfig(norm_momentum=1.5)}, "network.norm_momentum must be above 0 and at most 1"),
    ],
)
def test_invalid_values_are_refused_when_a_recipe_is_made(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError, match=found) as refused:
        Recipe(**changes)
    assert isinstance(refused.value, FirstlightError)
    with pytest.raises(UsageError, match=found):
        dataclasses.replace(UNUSUAL, **changes)


def test_a_recipe_cannot_be_changed_after_it_was_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1  # type: ignore[misc]
    assert len({Recipe(), Recipe(), UNUSUAL}) == 2
