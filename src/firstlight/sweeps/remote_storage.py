"""The storage of a sweep for the workers of a cluster: a process on the machine of the sweep opens the database."""

from __future__ import annotations

from typing import Any

from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat  # has no public name, and is what makes Optuna write signs of life

from firstlight.sweeps.storage import open_storage


class StorageServer:
    """Calls the methods of a storage for the workers, and admits them. It runs as an actor of Ray's.

    Args:
        url: Address of the database.
    """

    def __init__(self, url: str) -> None:
        self._storage = open_storage(url)
        self._admitted: set[str] = set()
        self._is_closed = False

    def admit(self, worker: str) -> bool:
        """Return whether a worker may begin a trial.

        Args:
            worker: Name of its task.
        """
        if not self._is_closed:
            self._admitted.add(worker)
        return not self._is_closed

    def close(self) -> set[str]:
        """Admit no further worker, and return those that were admitted."""
        self._is_closed = True
        return self._admitted

    def call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Exception | None]:
        """Call a method of the storage, and return its result or its error."""
        try:
            return getattr(self._storage, method)(*arguments, **options), None
        except Exception as error:  # Optuna decides by the class of the error, which Ray would wrap
            return None, error


class _RemoteStorage:
    """Passes every method of a storage on to an actor.

    Args:
        server: Handle of the actor, a `StorageServer`.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def _call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        import ray

        result, error = ray.get(self._server.call.remote(method, arguments, options))
        if error is not None:
            raise error
        return result


def _passed_on(method: str) -> Any:
    return lambda self, *arguments, **options: self._call(method, arguments, options)


_METHODS = [
    name
    for base in (BaseStorage, BaseHeartbeat)
    for name, value in vars(base).items()
    if callable(value) and not name.startswith("__")
]
RemoteStorage = type(
    "RemoteStorage",
    (_RemoteStorage, BaseStorage, BaseHeartbeat),
    {name: _passed_on(name) for name in _METHODS} | {"__doc__": _RemoteStorage.__doc__, "__module__": __name__},
)


def serve_storage(url: str) -> Any:
    """Start the actor that holds the storage, on this machine, and return its handle.

    Args:
        url: Address of the database.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(StorageServer).options(num_cpus=0, scheduling_strategy=here).remote(url)
