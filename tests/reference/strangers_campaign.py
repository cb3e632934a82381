"""Attacks the verbs with files of strangers, each attempt in this process, until the time is over.

    python strangers_campaign.py SECONDS SEED FOLDER

One field of one file of a run, of an interrupted run or of a bundle gets another value, or a file is no longer a file,
and a verb reads it. It prints JSON: attempts by file and by verb, refusals, tracebacks, hangs, escape sequences, the
peak memory and the slowest attempt.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import yaml
from safetensors import safe_open

from firstlight.app import serving
from firstlight.app.page import build_page
from firstlight.app.service import Service
from firstlight.cli import main
from firstlight.data.source import SOURCES
from firstlight.export.bundle import Bundle
from firstlight.runs.checkpoints import CheckpointFolder
from firstlight.runs.run import Run
from firstlight.safetensors_bytes import safetensors_bytes
from reference.hostile import GOOD
from reference.interrupted import cut_short
from reference.made_bundle import make_tiny_bundle
from reference.tiny import tiny_split

ATTEMPT_S = 45  # by the clock; on a busy machine a training takes several times its processor time
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3, 10**12, 0.5, -0.1, 1e308, float("nan"), float("inf"), "", "text", "\x1b[2J", "\ud800", [],
    [1], [None] * 3, {}, {"a": 1}, [[]], "9" * 5000, "../../..", "/dev/zero",
)  # fmt: skip
CELLS = ("", "nan", "-1", "1e999", "text", "\x1b[2J", '"', "9" * 5000, "\0", "é")  # of a table
FILES = {  # each as often as it stands here
    "run": (*("environment.json", "results.json", "trust.json", "metrics.csv", "recipe.yaml") * 2, "options.json",
            *("model.safetensors", "predictions.npz") * 2),
    "bundle": ("config.json", "measured.json", "examples.safetensors", "mistakes.safetensors"),
    "cut": ("options.json", "options.json", "environment.json", "recipe.yaml", "checkpoint", "checkpoint"),
}  # fmt: skip
VERBS = {
    "run": (
        ["predict", "PICTURE", "--run", "FOLDER"],
        ["summary", "--run", "FOLDER"],
        ["compare", "FOLDER", "WHOLE"],
        ["report", "FOLDER", "--method", "auto", "--max_mistakes", "3"],
        ["explain", "FOLDER", "--list"],
        ["explain", "FOLDER", "--method", "auto", "--count", "2"],
        ["audit", "FOLDER", "--without_near_copies"],
        ["export", "FOLDER", "--to", "bundle", "NEW"],
        ["app", "FOLDER"],
        ["fit", "--resume", "FOLDER"],
    ),
    "bundle": (
        ["predict", "PICTURE", "--run", "FOLDER", "--format", "csv"],
        ["export", "FOLDER", "--to", "bundle", "NEW"],
        ["app", "FOLDER"],
    ),
    "cut": (["fit", "--resume", "FOLDER"],),
}
CHANCES = {"run": 10, "bundle": 4, "cut": 4}  # a resumed training takes longest


def build_only(bundle: Bundle, *_: Any, **__: Any) -> None:
    """Build the page as `firstlight app` does, but do not serve it."""
    build_page(Service(bundle)).get_config_file()


class _TooLongError(BaseException):
    """Not an Exception, so that nobody catches it."""


def positions(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field in nested JSON; of long lists the first element."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from positions(each, (*path, key))
    elif isinstance(value, list) and value:
        yield from positions(value[0], (*path, 0))


def with_value(content: Any, path: tuple[Any, ...], value: Any, chance: random.Random) -> Any:
    """Return a copy with another value at a path, or without it."""
    made = copy.deepcopy(content)
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    if chance.random() < 0.15:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return made


def mutate(folder: Path, kind: str, chance: random.Random) -> str:
    """Change one field of one file, or the file itself; return what was changed."""
    name, value = chance.choice(FILES[kind]), chance.choice(VALUES)
    path = folder / name
    if name == "checkpoint":
        return f"checkpoint {_change_checkpoint(folder, value, chance)} {value!r}"[:200]
    if chance.random() < 0.1:
        return f"{name} {_replace(path, chance)}"
    if path.suffix == ".safetensors":
        field = _change_metadata(path, value, chance)
    elif path.suffix == ".npz":
        field = _change_array(path, chance)
    elif path.suffix == ".csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        row = chance.choice(rows)
        row[chance.randrange(len(row))] = chance.choice(CELLS)
        path.write_text("".join(f"{','.join(row)}\n" for row in rows))
        field = "cell"
    else:
        content = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
        where = chance.choice(list(positions(content)))
        path.write_text(json.dumps(with_value(content, where, value, chance)))  # JSON is YAML, too
        field = ".".join(map(str, where))
    return f"{name} {field} {value!r}"[:200]


def _change_metadata(path: Path, value: Any, chance: random.Random) -> str:
    """Change a text or the shape of a tensor."""
    with safe_open(path, framework="pt") as weights:
        metadata, tensors = weights.metadata(), {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    field = chance.choice(sorted(metadata or tensors))
    if metadata:
        metadata[field] = json.dumps(value)
    else:
        tensors[field] = chance.choice((tensors[field][:0], tensors[field].double(), tensors[field] * 0 - 7))
    path.write_bytes(safetensors_bytes(tensors, metadata or {}))
    return field


def _change_array(path: Path, chance: random.Random) -> str:
    arrays = dict(np.load(path, allow_pickle=False))
    field = chance.choice(sorted(arrays))
    changes = (
        lambda a: a[:0],
        lambda a: a[..., :1],
        lambda a: a.astype("float64"),
        lambda a: a * 0 - 7,
        lambda a: a * np.nan,
    )
    arrays[field] = chance.choice(changes)(arrays[field])
    (np.savez_compressed if chance.random() < 0.2 else np.savez)(path, **arrays)
    return field


def _change_checkpoint(folder: Path, value: Any, chance: random.Random) -> str:
    """Write a further checkpoint with another value at one path, under its right digest."""
    checkpoints = CheckpointFolder(folder / "checkpoints")
    content = torch.load(checkpoints.files()[-1], weights_only=True)
    where = chance.choice(list(positions(content)))
    checkpoints.write(with_value(content, where, value, chance), "epoch_1-step_7")
    return ".".join(map(str, where))


def _replace(path: Path, chance: random.Random) -> str:
    """Put something else where a file was."""
    kind = chance.choice(("fifo", "folder", "device", "empty", "half", "bytes"))
    content = path.read_bytes()
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "bytes": b"\xff\x1b[2J" * 50}[kind])
    return f"is a {kind}"


def attempt(command: list[str]) -> tuple[str, str]:
    """Run a verb; return how it ended, and what it printed."""

    def stop(*_: object) -> None:
        raise _TooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(ATTEMPT_S)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main(command)
        return ("done" if not status else "refused"), printed.getvalue()
    except SystemExit as error:
        return ("refused" if error.code == 2 else "done"), printed.getvalue()
    except _TooLongError:
        return "hang", traceback.format_exc()
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)


def make_victims(whole: Path) -> None:
    """Make a finished run with all its files, its bundle, and an interrupted run."""
    whole.mkdir()
    make_tiny_bundle(whole)
    run = Run(whole / "run")
    scores = {"deletion": 0.3, "insertion": 0.5, "energy_inside": None, "pointing": None, "randomization": 0.1}
    rows = [{"method": name, "stage": "layer3"} | scores for name in ("grad_cam", "random")]
    rows[0]["deletion"] = 0.1
    run.save_json("trust.json", {"data": "tiny test", "num_images": 83, "seed": 0, "rows": rows})
    columns = "epoch,train_loss,train_acc,val_loss,val_acc,learning_rate,seconds"
    (run.path / "metrics.csv").write_text(f"{columns}\n0,1.5,0.4,1.4,0.5,0.02,1.5\n1,1.2,0.5,,,0.01,1.5\n")
    shutil.move(cut_short(whole / "logs", logger="none"), whole / "cut")
    shutil.copy(whole / "cut" / "options.json", run.path)


def campaign(duration_s: float, seed: int, folder: Path) -> dict[str, Any]:
    """Attack until the time is over."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    SOURCES["tiny"] = lambda data_dir, split: tiny_split(split)
    serving.serve = build_only
    whole = folder / "whole"
    make_victims(whole)
    (folder / "picture.png").write_bytes(GOOD["rgb.png"]())
    begun_s, number, ends = time.monotonic(), 0, Counter()  # type: ignore[var-annotated]
    found: dict[str, Any] = {"files": Counter(), "verbs": Counter(), "failures": [], "slowest_s": 0.0, "slowest": ""}
    while time.monotonic() - begun_s < duration_s:
        chance = random.Random(f"{seed}/{number}")
        kind = chance.choices(list(CHANCES), list(CHANCES.values()))[0]
        victim = folder / "victim"
        shutil.rmtree(victim, ignore_errors=True)
        shutil.rmtree(folder / "new", ignore_errors=True)
        shutil.copytree(whole / kind, victim)
        change = mutate(victim, kind, chance)
        names = {"PICTURE": folder / "picture.png", "FOLDER": victim, "NEW": folder / "new", "WHOLE": whole / "run"}
        command = [str(names.get(word, word)) for word in chance.choice(VERBS[kind])]
        started_s = time.process_time()
        end, text = attempt(command)
        if (spent_s := time.process_time() - started_s) > found["slowest_s"]:
            found |= {"slowest_s": spent_s, "slowest": f"{command[0]}: {change}"}
        found["files"][change.split()[0]] += 1
        found["verbs"][command[0]] += 1
        ends[end] += 1
        if end in ("hang", "traceback") or "\x1b" in text or "Traceback" in text:
            found["failures"].append({"number": number, "change": change, "command": command[0], "text": text[-1500:]})
        number += 1
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found | {"attempts": number, "ends": ends, "peak_mb": peak_mb}


if __name__ == "__main__":
    print(json.dumps(campaign(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
