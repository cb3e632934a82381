"""The description of a Ray cluster, and what is refused before Ray is started."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from firstlight import ray_cluster
from firstlight.errors import MissingPackageError, StoppedError, UsageError
from firstlight.ray_cluster import RayCluster, connect, prepare_worker, stop_signals


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cpus_per_trial": 0.0}, "cpus_per_trial must be above 0"),
        ({"gpus_per_trial": 2.0}, "gpus_per_trial must be from 0 to 1"),
        ({"gpus_per_trial": float("nan")}, "gpus_per_trial must be from 0 to 1"),
    ],
)
def test_impossible_resources_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RayCluster(**options)


def test_an_address_without_a_cluster_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UsageError, match="no cluster answers"), connect(RayCluster(f"127.0.0.1:{port}")):
        raise AssertionError("connected")


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "head", ":6379", "head:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must be HOST:PORT"), connect(RayCluster(address)):
        raise AssertionError("connected")


def test_a_missing_ray_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"firstlight\[ray\]"), connect(RayCluster()):
        raise AssertionError("connected")


def test_a_worker_forgets_the_ranks_of_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("RANKING", "kept")
    prepare_worker()
    assert not any(name.startswith(("SLURM", "OMPI")) or name in ("RANK", "WORLD_SIZE") for name in os.environ)
    assert os.environ["RANKING"] == "kept"


def test_a_signal_says_how_to_continue() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="come again") as caught, stop_signals("come again"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
