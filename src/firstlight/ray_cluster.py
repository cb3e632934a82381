"""Trainings on a Ray cluster: the connection, and one task for each training. Imports Ray only when it is used."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any, NoReturn

from firstlight.errors import FirstlightError, MissingPackageError, StoppedError, UsageError

MAX_DEATHS = 3  # of the workers of one training; then something is wrong with the training itself
CONNECT_S = 10  # seconds in which the head node must accept a connection
# Variables by which a launcher tells Lightning the rank of a process. SLURM may have started the nodes of Ray.
LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
LAUNCHER_PREFIXES = ("SLURM_", "OMPI_COMM_WORLD_", "PMI_", "LSB_")


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster, and what each training gets of it.

    Args:
        address: Address of the head node, HOST:PORT; None starts Ray on this machine alone, and ends it afterwards.
        cpus_per_trial: CPU cores of a training; also the number of its threads, unless OMP_NUM_THREADS is set.
        gpus_per_trial: GPUs of a training, at most 1. Two trainings share a GPU if each has 0.5 of it.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0

    def __post_init__(self) -> None:
        if not self.cpus_per_trial > 0:
            raise UsageError(f"cpus_per_trial must be above 0, not {self.cpus_per_trial:g}")
        if not 0 <= self.gpus_per_trial <= 1:
            raise UsageError(
                f"gpus_per_trial must be from 0 to 1, not {self.gpus_per_trial:g}: each training uses one device"
            )

    @property
    def resources(self) -> dict[str, float]:
        """What each training gets, by Ray's names."""
        return {"num_cpus": self.cpus_per_trial, "num_gpus": self.gpus_per_trial}

    def num_slots(self) -> int:
        """Return how many trainings the machines of the connected cluster can hold at once."""
        import ray

        wanted = {"CPU": self.cpus_per_trial, "GPU": self.gpus_per_trial}
        return sum(
            int(min(node["Resources"].get(kind, 0) / amount for kind, amount in wanted.items() if amount))
            for node in ray.nodes()
            if node["Alive"]
        )


@contextmanager
def connect(cluster: RayCluster) -> Iterator[None]:
    """Connect to a cluster within the block, or start Ray on this machine. Nested calls share one connection.

    Raises:
        MissingPackageError: Ray is not installed.
        UsageError: No cluster answers at the address, or no machine of it has the resources of a training.
    """
    if find_spec("ray") is None:
        raise MissingPackageError("--engine ray needs Ray, which is not installed: pip install 'firstlight[ray]'")
    _set_variables(cluster.address)
    import ray

    if ray.is_initialized():
        yield
        return
    _check_address(cluster.address)
    _hide_notices()
    try:
        with _without_stderr():
            ray.init(
                cluster.address or "local",
                include_dashboard=False if cluster.address is None else None,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"worker_process_setup_hook": f"{__name__}.prepare_worker"},
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = first_line(error)
        raise UsageError(
            f"Ray cannot be used at {cluster.address or 'this machine'} ({first}). If the cluster asks for a token, "
            "set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here as on its machines"
        ) from error
    try:
        _check_resources(cluster)
        yield
    finally:
        ray.shutdown()


def prepare_worker() -> None:
    """Remove a launcher's variables from a worker process, which trains alone whatever started Ray's node."""
    for name in list(os.environ):
        if name in LAUNCHER_VARIABLES or name.startswith(LAUNCHER_PREFIXES):
            del os.environ[name]


def submit(cluster: RayCluster, function: str, *arguments: Any, max_retries: int = 0) -> Any:
    """Call a function on the cluster, and return Ray's reference to its result, for `result_of`.

    Args:
        cluster: The cluster.
        function: The function, as "package.module:name".
        arguments: Its arguments.
        max_retries: How often Ray calls it again if the worker dies.
    """
    import ray

    task = ray.remote(_call).options(max_retries=max_retries, **cluster.resources)
    return task.remote(function, arguments)


def result_of(reference: Any) -> Any:
    """Wait for the result of a task, and return it.

    Raises:
        FirstlightError: What the function has raised.
        ray.exceptions.RayError: The worker has died, or the function has raised another error.
    """
    import ray

    result, error = ray.get(reference)
    if error is not None:
        raise error
    return result


def call_each(cluster: RayCluster, function: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call a function on the cluster once for each tuple of arguments, and return the results in their order.

    Args:
        cluster: The connected cluster.
        function: The function, as "package.module:name". It is called again with the same arguments if its worker dies.
        calls: The arguments of each call.

    Raises:
        FirstlightError: What a call has raised; or the workers of one call have died again and again.
    """
    import ray

    references = [submit(cluster, function, *each, max_retries=MAX_DEATHS) for each in calls]
    try:
        return [result_of(each) for each in references]
    except ray.exceptions.RayTaskError:  # a bug, with its traceback
        raise
    except ray.exceptions.RayError as error:
        raise FirstlightError(
            f"a worker of the cluster has died {MAX_DEATHS + 1} times in the same training ({first_line(error)}); "
            "repeat the command to continue"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def stop_signals(message: str) -> Iterator[None]:
    """Raise StoppedError for SIGINT and SIGTERM within the block.

    Args:
        message: How to continue.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise StoppedError(message, 128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _call(function: str, arguments: tuple[Any, ...]) -> tuple[Any, FirstlightError | None]:
    """Call a function in a worker process, and return its result, or the error that the user can mend."""
    import ray

    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a training without a GPU must not take one of the machine's
    module, _, name = function.partition(":")
    try:
        return getattr(import_module(module), name)(*arguments), None
    except FirstlightError as error:
        return None, error


def _set_variables(address: str | None) -> None:
    """Set the environment variables that Ray reads when it is imported, unless the user has set them."""
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns if this is not set
    }
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on the network, and runs what it is sent. By default it would write a token into the home folder.
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in variables.items():
        os.environ.setdefault(name, value)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what the process writes to its standard error: Ray's core repeats why it cannot connect."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check_address(address: str | None) -> None:
    if address is None:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UsageError(f"--ray_address must be HOST:PORT, not {address!r}: start on a machine of the cluster")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--ray_address {address}: no cluster answers ({error}); start its head node: ray start --head"
        ) from error


def _check_resources(cluster: RayCluster) -> None:
    import ray

    found = ray.cluster_resources()
    cpus, gpus = found.get("CPU", 0), found.get("GPU", 0)
    if not cluster.num_slots():
        raise UsageError(
            f"no machine of the cluster has {cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial:g} GPUs for a "
            f"training: all machines together have {cpus:g} and {gpus:g}"
        )
    if gpus and not cluster.gpus_per_trial:
        logging.getLogger("firstlight").info(
            f"the cluster has {gpus:g} GPUs and the trainings use none: --gpus_per_trial 1 gives one to each"
        )


def _hide_notices() -> None:
    """Keep Ray's notices about dead workers off the terminal; it has no option for this."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None
