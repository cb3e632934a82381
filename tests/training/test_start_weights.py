"""Starting from the weights of a trained model: what is copied, at which rates it learns, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.cli import main
from firstlight.data.images import ImageSet
from firstlight.data.source import SOURCES
from firstlight.errors import RunError, UsageError
from firstlight.export.bundle import BUNDLED_PATH
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, OptimizerConfig
from firstlight.runs.open_model import lasting_name, open_model
from firstlight.runs.run import Run
from firstlight.training.exercise import CustomResNet
from firstlight.training.fit import fit
from firstlight.training.initialization import seeded_network
from firstlight.training.optimizers import build_optimizer
from firstlight.training.resume import resume
from firstlight.training.start_weights import freeze_first_stages, load_start_weights
from reference.interrupted import ALWAYS, NEVER, PLAIN, RECIPE, CutAt, begin
from reference.tiny import CLASS_NAMES, tiny_split

ORDER = torch.tensor([2, 0, 3, 1])
REORDERED = tuple(CLASS_NAMES[i] for i in ORDER)
MUON = MuonConfig(learning_rate=0.1, head_rate=0.02, bias_rate=0.05)
FIT = {"logger": "none", "checkpoints": NEVER} | PLAIN


def two_classes(split: str) -> ImageSet:
    """Return the first two colours at another size, under other names."""
    whole = tiny_split(split, size_px=24)
    chosen = whole[(whole.labels < 2).nonzero().flatten()]
    return ImageSet(chosen.images, chosen.labels, ("cat", "dog"), name=f"two {split}")


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
    monkeypatch.setitem(SOURCES, "two", lambda data_dir, split: two_classes(split))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return fit(RECIPE, logs_dir=tmp_path_factory.mktemp("source"), **FIT)


def test_the_body_is_copied_and_a_head_for_other_classes_is_new(source: Run, caplog: pytest.LogCaptureFixture) -> None:
    recipe = replace(RECIPE, init=str(source.path), seed=5)
    network, fresh = seeded_network(2, recipe), seeded_network(2, recipe)
    with caplog.at_level("INFO", "firstlight"):
        found = load_start_weights(network, recipe, ("cat", "dog"))
    theirs = source.network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name] if name.startswith("head.") else theirs[name]), name
    assert found.has_new_head
    assert "a new head for 2 classes replaces its head for 4" in caplog.text


def test_the_head_is_kept_for_the_same_classes_in_any_order(source: Run) -> None:
    recipe = replace(RECIPE, init=str(source.path))
    network = seeded_network(4, recipe)
    assert not load_start_weights(network, recipe, REORDERED).has_new_head
    images = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), source.network(images)[:, ORDER])


def test_a_training_starts_from_the_weights_and_records_them(source: Run, tmp_path: Path) -> None:
    """At a tiny rate the body stays that of the source; other images of another size are learned by the head."""
    recipe = replace(RECIPE, data="two", num_val=16, max_epochs=1, init_body_rate=1e-9)
    run = fit(recipe, logs_dir=tmp_path, init=source, **FIT)
    assert run.recipe.init == str(source.path.absolute())
    assert run.environment["init"]["model"] == run.recipe.init
    assert len(run.environment["init"]["sha256"]) == 64
    assert run.size_px == (24, 24)
    for name, value in source.network.named_parameters():
        same = torch.allclose(value, dict(run.network.named_parameters())[name], atol=1e-6) if "head" not in name else 0
        assert same or name.startswith("head."), name
    assert torch.equal(run.network.normalize.mean, source.network.normalize.mean)
    assert not torch.equal(run.network.prep.norm.running_mean, source.network.prep.norm.running_mean)


@pytest.mark.parametrize("optimizer", [RECIPE.optimizer, MUON], ids=["adam", "muon"])
def test_frozen_stages_keep_their_weights_and_the_others_learn(
    source: Run, tmp_path: Path, optimizer: OptimizerConfig | MuonConfig
) -> None:
    recipe = replace(RECIPE, max_epochs=1, init_frozen_stages=3, optimizer=optimizer)
    trained = dict(fit(recipe, logs_dir=tmp_path, init=source.path, **FIT).network.named_parameters())
    frozen = source.network.stages[:3]
    for name, value in source.network.named_parameters():
        if name.endswith("conv.weight"):
            assert torch.equal(value, trained[name]) == name.startswith(frozen), name


def test_a_run_resumes_to_the_same_bits_even_if_its_source_is_gone(source: Run, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.symlink_to(source.path)
    recipe = replace(RECIPE, init_frozen_stages=1)
    whole = fit(recipe, logs_dir=tmp_path / "whole", init=source.path, **FIT)
    folder = begin(tmp_path / "cut", CutAt("on_train_batch_end", 7), replace(recipe, init=str(gone)), logger="none")
    gone.unlink()
    resumed = resume(folder, checkpoints=ALWAYS)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.environment["init"]["sha256"] == whole.environment["init"]["sha256"]


def test_beginning_again_from_other_weights_is_refused(source: Run, tmp_path: Path) -> None:
    other = fit(replace(RECIPE, max_epochs=1, seed=9), logs_dir=tmp_path / "other", **FIT)
    named = tmp_path / "named"
    named.symlink_to(source.path)
    cut = CutAt("on_train_start")
    folder = begin(tmp_path / "cut", cut, replace(RECIPE, init=str(named)), logger="none", checkpoints=NEVER)
    named.unlink()
    named.symlink_to(other.path)
    with pytest.raises(RunError, match=r"its weights are not those that .* started from"):
        resume(folder)


def test_the_body_learns_more_slowly_than_the_head() -> None:
    network = seeded_network(4, RECIPE)
    body, head = build_optimizer(RECIPE.optimizer, network, body_rate=0.1).param_groups
    assert (body["lr"], head["lr"]) == (pytest.approx(0.002), 0.02)
    groups = {group["name"]: group for group in build_optimizer(MuonConfig(), network, body_rate=0.5).param_groups}
    assert (groups["filters"]["lr"], groups["biases"]["lr"], groups["head"]["lr"]) == (0.12, 53.0, 1340.0)
    assert groups["biases"]["lr"] * groups["biases"]["weight_decay"] == pytest.approx(0.004)


def test_another_architecture_is_refused_with_the_options_that_choose_it(source: Run) -> None:
    for network, options in (
        (ResNet9Config(width=3), "add --network.width 2"),
        (SpeedNetConfig(width=2), "add --network.width 2 --network.name resnet9"),
    ):
        recipe = replace(RECIPE, init=str(source.path), network=network)
        with pytest.raises(UsageError, match="is not that of recipe tiny") as caught:
            load_start_weights(seeded_network(4, recipe), recipe, CLASS_NAMES)
        assert str(caught.value).endswith(options)


def test_what_cannot_be_frozen_is_refused(source: Run) -> None:
    network = seeded_network(4, RECIPE)
    with pytest.raises(UsageError, match="init_frozen_stages is 7, but the network has 6 stages: prep, "):
        freeze_first_stages(network, replace(RECIPE, init="bundled", init_frozen_stages=7))
    with pytest.raises(UsageError, match="name the model with init, too"):
        freeze_first_stages(network, replace(RECIPE, init_frozen_stages=1))
    for change, message in (({"init_body_rate": 0.0}, "init_body_rate must be above 0"), ({"init": "a\n"}, "control")):
        with pytest.raises(UsageError, match=message):
            replace(RECIPE, **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"init is an option of firstlight\.fit"):
        CustomResNet(init="bundled")


def test_models_are_opened_by_their_names(
    source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert open_model("bundled").path == BUNDLED_PATH
    assert isinstance(open_model(source.path), Run)
    monkeypatch.chdir(source.path.parent)
    assert lasting_name(source.path.name) == str(source.path.absolute())
    assert (lasting_name("bundled"), lasting_name("user/model")) == ("bundled", "user/model")
    arguments = ["fit", "--recipe", "demo", "--logs_dir", str(tmp_path)]
    assert main([*arguments, "--init", "nowhere"]) == 2
    assert "nowhere holds no config.json" in capsys.readouterr().err
    assert main([*arguments, "--init", "bundled"]) == 2
    assert "(resnet9, width 64) is not that of recipe demo (resnet9, width 16): add --network.width 64" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
