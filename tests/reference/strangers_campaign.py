"""Attacks the verbs with files of strangers, each attempt in this process, until the time is over.

    python strangers_campaign.py SECONDS SEED FOLDER

One field of one file of a run or a bundle gets another value, and a verb reads it. It prints JSON: attempts by file and
by verb, refusals, tracebacks, hangs, escape sequences, the peak memory and the slowest attempt.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from safetensors import safe_open

from firstlight.cli import main
from firstlight.safetensors_bytes import safetensors_bytes
from reference.hostile import GOOD
from reference.made_bundle import make_tiny_bundle

ATTEMPT_S = 20
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3, 10**12, 0.5, -0.1, 1e308, float("nan"), float("inf"), "", "text", "\x1b[2J", "\ud800", [],
    [1], [None] * 3, {}, {"a": 1}, [[]], "9" * 5000,
)  # fmt: skip
JSON_FILES = {"run": ("environment.json", "results.json"), "bundle": ("config.json", "measured.json")}
VERBS = {
    "run": (["predict", "PICTURE", "--run", "FOLDER"], ["summary", "--run", "FOLDER"], ["compare", "FOLDER", "FOLDER"]),
    "bundle": (
        ["predict", "PICTURE", "--run", "FOLDER", "--format", "csv"],
        ["export", "FOLDER", "--to", "bundle", "NEW"],
    ),
}


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
    made = json.loads(json.dumps(content))
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    if chance.random() < 0.15:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return made


def mutate(folder: Path, kind: str, chance: random.Random) -> str:
    """Change one field of one file; return what was changed."""
    value = chance.choice(VALUES)
    name = chance.choice((*JSON_FILES[kind], *(("model.safetensors", "predictions.npz") if kind == "run" else ())))
    path = folder / name
    if name == "model.safetensors":
        with safe_open(path, framework="pt") as weights:
            metadata, tensors = weights.metadata(), {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        field = chance.choice(sorted(metadata))
        metadata[field] = json.dumps(value)
        path.write_bytes(safetensors_bytes(tensors, metadata))
    elif name == "predictions.npz":
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
    else:
        content = json.loads(path.read_text())
        where = chance.choice(list(positions(content)))
        path.write_text(json.dumps(with_value(content, where, value, chance)))
        field = ".".join(map(str, where))
    return f"{name} {field} {value!r}"[:200]


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


def campaign(duration_s: float, seed: int, folder: Path) -> dict[str, Any]:
    """Attack until the time is over."""
    torch.set_num_threads(1)
    whole = folder / "whole"
    whole.mkdir()
    make_tiny_bundle(whole)
    (folder / "picture.png").write_bytes(GOOD["rgb.png"]())
    begun_s, number, ends = time.monotonic(), 0, Counter()  # type: ignore[var-annotated]
    found: dict[str, Any] = {"files": Counter(), "verbs": Counter(), "failures": [], "slowest_s": 0.0}
    while time.monotonic() - begun_s < duration_s:
        chance = random.Random(f"{seed}/{number}")
        kind = chance.choice(sorted(VERBS))
        victim = folder / "victim"
        shutil.rmtree(victim, ignore_errors=True)
        shutil.rmtree(folder / "new", ignore_errors=True)
        shutil.copytree(whole / kind, victim)
        change = mutate(victim, kind, chance)
        names = {"PICTURE": folder / "picture.png", "FOLDER": victim, "NEW": folder / "new"}
        command = [str(names.get(word, word)) for word in chance.choice(VERBS[kind])]
        started_s = time.monotonic()
        end, text = attempt(command)
        found["slowest_s"] = max(found["slowest_s"], time.monotonic() - started_s)
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
