"""The option `--engine` and those of Ray: where the trials of a sweep, or the seeds of a fit, are trained."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from firstlight.errors import UsageError
from firstlight.ray_cluster import RayCluster

ENGINES = ("local", "ray")
OF_RAY = ("ray_address", "cpus_per_trial", "gpus_per_trial")


def add_engine_options(parser: ArgumentParser, trial: str) -> None:
    """Add the options to a verb's parser.

    Args:
        parser: The parser.
        trial: What is trained: "trial" or "seed".
    """
    parser.add_argument(
        "--engine",
        default="local",
        choices=ENGINES,
        help=f"where the {trial}s are trained: local trains one after the other in this process, ray as many at a time "
        "as a Ray cluster has resources for",
    )
    parser.add_argument(
        "--ray_address",
        type=str,
        default=None,
        metavar="HOST:PORT",
        help="head node of the Ray cluster; by default Ray is started on this machine alone",
    )
    parser.add_argument(
        "--cpus_per_trial", type=float, default=None, metavar="N", help=f"CPU cores of each {trial} (1)"
    )
    parser.add_argument(
        "--gpus_per_trial", type=float, default=None, metavar="N", help=f"GPUs of each {trial} (0); 0.5 shares one"
    )


def cluster_of(options: Namespace) -> RayCluster | None:
    """Return the cluster that the options name; None for the engine `local`.

    Raises:
        UsageError: An option of Ray's is given without `--engine ray`, or is out of range.
    """
    given = {name: getattr(options, name) for name in OF_RAY if getattr(options, name) is not None}
    if options.engine == "local":
        if given:
            raise UsageError(f"--{next(iter(given))} belongs to --engine ray: add it")
        return None
    if "ray_address" in given:
        given["address"] = given.pop("ray_address")
    return RayCluster(**given)
