"""Run two processes alternately for a few seconds each, so that a shared machine's drift affects both equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

import pytorch_lightning as pl


class Turns(pl.Callback):
    """Pause the training after the step that ends a turn, until the other process has had its turn.

    Args:
        connection: Connection to the other process, which closes it when it ends; None never pauses.
        turn_s: Seconds of a turn.
        is_first: Whether this process has the first turn.

    Attributes:
        waited_s: Seconds that this process has waited for the other one.
    """

    def __init__(self, connection: Connection | None = None, turn_s: float = 0.0, *, is_first: bool = True) -> None:
        self._connection = connection
        self._turn_s = turn_s
        self.waited_s = 0.0
        self._started_s = time.perf_counter()
        if not is_first:
            self._wait()

    def on_train_batch_end(self, *_: Any) -> None:
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            raise SystemExit("the benchmark that started this run has ended")
        if self._connection is None or time.perf_counter() - self._started_s < self._turn_s:
            return
        try:
            self._connection.send(None)
        except BrokenPipeError:
            self._connection = None
            return
        self._wait()

    def _wait(self) -> None:
        assert self._connection is not None
        before_s = time.perf_counter()
        try:
            self._connection.recv()
        except EOFError:
            self._connection = None
        self._started_s = time.perf_counter()
        self.waited_s += self._started_s - before_s


def in_turns(run: Callable[[Any, Turns], Any], inputs: Sequence[Any], turns_s: Sequence[float]) -> list[Any]:
    """Call a function for two inputs in two processes, of which one runs at a time, and return both results.

    Args:
        run: Function at the top level of a module that takes an input and the callback `Turns`.
        inputs: The two inputs.
        turns_s: Seconds of a turn of each process. Choose them in proportion to the lengths of the two runs, so that
            both end at about the same time.
    """
    context = get_context("spawn")
    ends, results = context.Pipe(), [context.Pipe(duplex=False) for _ in inputs]
    workers = []
    for number, (one, turn_s, end, (_, sender)) in enumerate(zip(inputs, turns_s, ends, results, strict=True)):
        worker = context.Process(target=_work, args=(run, one, end, turn_s, number == 0, sender))
        worker.start()
        workers.append(worker)
    for each in (*ends, *(sender for _, sender in results)):
        each.close()  # otherwise `recv` does not notice that a process has ended
    found = [receiver.recv() for receiver, _ in results]
    for worker in workers:
        worker.join()
    return found


def _work(
    run: Callable[[Any, Turns], Any],
    one: Any,
    connection: Connection,
    turn_s: float,
    is_first: bool,
    sender: Connection,
) -> None:
    turns = Turns(connection, turn_s, is_first=is_first)
    found = run(one, turns)
    connection.close()
    sender.send(found)
