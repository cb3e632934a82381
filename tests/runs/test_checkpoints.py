"""Checkpoint files: two are kept, damage is detected, other files are refused, and no code is executed."""

from __future__ import annotations

import io
import logging
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from firstlight.errors import RunError, WriteError
from firstlight.runs.checkpoints import CheckpointFolder, all_tensors, load

NUM_MUTATIONS = 1000


def content(step: int = 0) -> dict[str, Any]:
    """The content of a checkpoint of a tiny network."""
    draw = torch.Generator().manual_seed(step)
    weights = {f"layer{i}.weight": torch.rand(8, 9, generator=draw) for i in range(5)}
    return {
        "state_dict": weights,
        "optimizer_states": [
            {"state": {i: {"step": torch.tensor(3.0)} for i in range(5)}, "param_groups": [{"lr": 0.1}]}
        ],
        "lr_schedulers": [],
        "loops": {
            "fit_loop": {"state_dict": {}, "epoch_progress": progress(), "epoch_loop.batch_progress": progress()}
        },
        "callbacks": {"MetricsTable": {"rows": [{"epoch": 0, "val_acc": ""}]}},
        "firstlight": {
            "recipe": "{}",
            "train_s": 0.5,
            "logged": {},
            "is_trained": False,
            "event_sizes": {"events": 7},
            "random": {"cpu": torch.get_rng_state(), "cuda": []},
        },
    }


def progress() -> dict[str, dict[str, int]]:
    return {"total": {"ready": 1, "completed": 1}, "current": {"ready": 1, "completed": 1}}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("loops", "fit_loop"), None, r"loops\.fit_loop must be named values"),
        (
            ("loops", "fit_loop", "epoch_progress", "total", "ready"),
            "x",
            r"epoch_progress\.total\.ready must be a whole",
        ),
        (("firstlight", "event_sizes", "events"), -1, r"firstlight\.event_sizes\.events must be a whole number from 0"),
        (("optimizer_states", 0, "state", 2, "step"), "x", r"optimizer_states\.0\.state\.2\.step must be a number"),
        (("optimizer_states", 0, "state", 2), {"step": 1.0, "extra": 1}, r"must have the same values for each weight"),
        (("optimizer_states", 0, "param_groups", 0, "lr"), [], r"param_groups\.0\.lr must be a number of 0 or more"),
        (("lr_schedulers",), [{"base_lrs": [1.0]}], r"lr_schedulers\.0\.last_epoch is missing"),
        (("callbacks", "MetricsTable", "rows"), [{"val_acc": "x"}], r"rows\.0\.val_acc must be a number"),
        (("firstlight", "logged", "val_acc"), "x", r"firstlight\.logged\.val_acc must be a number"),
        (("firstlight", "train_s"), float("nan"), r"firstlight\.train_s must be a number of 0 or more, not nan"),
        (
            ("firstlight", "random", "cpu"),
            torch.zeros(3, dtype=torch.uint8),
            "firstlight.random.cpu must be 5056 bytes",
        ),
        (("firstlight", "random", "cpu"), 3, "firstlight.random.cpu must be Tensor, not 3"),
        (("state_dict", "layer0.weight"), [1.0], r"state_dict\.layer0\.weight must be Tensor"),
    ],
)
def test_a_wrong_inner_part_is_named(folder: CheckpointFolder, path: tuple[str, ...], value: Any, says: str) -> None:
    made = content()
    parent = made
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    folder.write(made, "epoch_0-step_1")
    with pytest.raises(RunError, match=says) as caught:
        folder.newest()
    assert str(caught.value).isprintable()


def same(one: Any, two: Any) -> bool:
    """Return whether two values are equal to the last bit, including types."""
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and one.shape == two.shape and one.numpy().tobytes() == two.numpy().tobytes()
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


def test_a_checkpoint_is_read_back_bit_for_bit(folder: CheckpointFolder) -> None:
    assert folder.newest() is None
    path = folder.write(content(), "epoch_3-step_450")
    newest = folder.newest()
    assert newest is not None
    assert (newest.path, newest.epoch, newest.step) == (path, 3, 450)
    assert same(newest.content, content())


def test_the_newest_two_checkpoints_are_kept(folder: CheckpointFolder) -> None:
    names = [folder.write(content(step), f"epoch_0-step_{step}").name for step in (1, 2, 10, 3)]
    assert [path.name for path in folder.files()] == names[-2:], "the order of writing counts, not that of the steps"
    assert [path.name for path in sorted(folder.path.iterdir())] == names[-2:]
    newest = folder.newest()
    assert newest is not None
    assert newest.step == 3


def test_other_files_are_ignored(folder: CheckpointFolder) -> None:
    folder.path.mkdir()
    for name in ("last.ckpt", "epoch=3-step=450.ckpt", "000001-epoch_0-step_1.ckpt", "notes.txt"):
        (folder.path / name).write_text("mine")
    assert folder.newest() is None
    for step in (1, 2, 3):
        folder.write(content(step), f"epoch_0-step_{step}")
    assert len(folder.files()) == 2
    assert len([path for path in folder.path.iterdir() if path.read_bytes() == b"mine"]) == 4


def test_a_damaged_checkpoint_is_named_skipped_and_not_counted(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = (folder.write(content(step), f"epoch_0-step_{step}") for step in (1, 2))
    bad.write_bytes(bad.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "firstlight"):
        newest = folder.newest()
    assert newest is not None
    assert newest.path == good
    assert [record.getMessage() for record in caplog.records] == [
        f"{bad} is damaged; looking for the checkpoint before it"
    ]
    folder.rename_damaged()
    assert folder.files() == [good]
    assert bad.with_suffix(".damaged").exists()
    another = folder.write(content(3), "epoch_0-step_3")
    assert folder.files() == [good, another]


def test_a_full_disk_keeps_the_earlier_checkpoints(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    earlier = folder.write(content(1), "epoch_0-step_1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(WriteError, match="cannot write"):
            folder.write(content(2), "epoch_0-step_2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.path.iterdir()) == [earlier]
    newest = folder.newest()
    assert newest is not None
    assert same(newest.content, content(1))


@pytest.mark.parametrize(
    "foreign",
    [b"", b"no zip at all", {"state_dict": {}}, [1, 2], content() | {"loops": "text"}, content() | {"rest": Path("x")}],
    ids=["empty", "text", "weights alone", "a list", "a wrong part", "an object"],
)
def test_other_files_with_a_valid_name_are_refused_in_one_line(tmp_path: Path, foreign: Any) -> None:
    file = io.BytesIO(foreign if isinstance(foreign, bytes) else b"")
    if not isinstance(foreign, bytes):
        torch.save(foreign, file)
    with pytest.raises(RunError) as refusal:
        load(io.BytesIO(file.getvalue()), tmp_path / "file.ckpt")
    assert len(str(refusal.value).splitlines()) == 1
    assert "file.ckpt" in str(refusal.value)


def test_nested_tensors_are_found() -> None:
    nested = {"a": [torch.tensor(1), (torch.tensor(2), "text")], "b": {"c": torch.tensor(3)}, "d": 4}
    assert [int(each) for each in all_tensors(nested)] == [1, 2, 3]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Flip a bit, truncate, cut out, duplicate or insert at a random position, mostly in zip tables and pickles."""
    position = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(2000, len(data)))
    length = draw.choice([1, 1, 2, 8, 100])
    kind = draw.randrange(5)
    if kind == 0:
        return data[:position] + bytes([data[position] ^ (1 << draw.randrange(8))]) + data[position + 1 :]
    if kind == 1:
        return data[:position]
    if kind == 2:
        return data[:position] + data[position + length :]
    if kind == 3:
        return data[:position] + data[position : position + length] + data[position:]
    return data[:position] + draw.randbytes(length) + data[position:]


@pytest.mark.slow
def test_a_thousand_mutations_are_detected_or_harmless(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    expected = folder.write(content(1), "epoch_0-step_1")
    path = folder.write(content(2), "epoch_0-step_2")
    data = path.read_bytes()
    for seed in range(NUM_MUTATIONS):
        path.write_bytes(mutated(data, random.Random(seed)))
        caplog.clear()
        newest = folder.newest()
        assert newest is not None
        if newest.path == path:
            assert same(newest.content, content(2)), seed
        else:
            assert newest.path == expected
            assert [len(record.getMessage().splitlines()) for record in caplog.records] == [1]


@pytest.mark.slow
def test_a_thousand_forgeries_are_refused_in_one_line_or_read_as_data(tmp_path: Path) -> None:
    """Mutate the content and correct the digest in the name, so that only the reader can detect it."""
    file = io.BytesIO()
    torch.save(content(), file)
    said = []
    for seed in range(NUM_MUTATIONS):
        try:
            load(io.BytesIO(mutated(file.getvalue(), random.Random(seed))), tmp_path / "file.ckpt")
        except RunError as error:
            said.append(str(error))
    assert len(said) > NUM_MUTATIONS / 2, "most of them damage it"
    assert all(len(each.splitlines()) == 1 for each in said)
