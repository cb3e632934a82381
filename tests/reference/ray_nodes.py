"""A Ray cluster of two nodes on this machine, started and ended as its users do, for the tests."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HOST = "127.0.0.1"
# What SLURM sets for the second of two tasks; Lightning would take a worker for rank 1 of a training.
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_NAME": "ray"}


@contextmanager
def two_nodes(logs: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a head node and one worker node, each with one CPU.

    Yields:
        The address of the head, and the environment variables of a process that may use the cluster.
    """
    (logs / "token").write_text(secrets.token_hex(32))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(logs / "token")}
    environment = os.environ | token
    port = _free_port()
    address = f"{HOST}:{port}"
    head = ("--head", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats")
    nodes = [_start(logs / "head.txt", environment | SLURM, *head)]
    try:
        _wait_for(port, nodes[0])
        nodes.append(_start(logs / "worker.txt", environment | SLURM, f"--address={address}"))
        yield address, environment
    finally:
        _end(nodes)


def training_process(run_folder: Path, nodes_of: str = "ray::") -> psutil.Process | None:
    """Return the worker process that trains a run: the one that has its lock file open."""
    for process in psutil.process_iter():
        try:
            if any(part.startswith(nodes_of) for part in process.cmdline()) and any(
                Path(each.path) == run_folder / ".lock" for each in process.open_files()
            ):
                return process
        except psutil.Error:
            continue
    return None


def _start(log: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("ray")), "start", *options, f"--node-ip-address={HOST}"]
    command += ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000", "--block"]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def _wait_for(port: int, node: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            assert node.poll() is None, "the head node has ended"
            assert time.monotonic() < deadline_s
            time.sleep(0.2)


def _end(nodes: list[subprocess.Popen[bytes]]) -> None:
    """End the processes of the nodes, and no others."""
    parents = [psutil.Process(node.pid) for node in nodes if node.poll() is None]
    processes = [each for parent in parents for each in (parent, *parent.children(recursive=True))]
    for each in processes:
        if each.is_running():
            each.terminate()
    _, alive = psutil.wait_procs(processes, timeout=5)
    for each in alive:
        each.kill()
    for node in nodes:
        node.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
