"""Put off the import of a module until something in it is used."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """A module whose code runs when an attribute that it does not have yet is read."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        for known in self.__dict__.pop("_known"):
            del self.__dict__[known]
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer_import(name: str, **known: Any) -> None:
    """Let `import NAME` do nothing until an attribute is read; no effect if the module is loaded or not installed.

    Args:
        name: Name of the module.
        **known: Attributes that can be read without loading the module; the loaded module does not keep them.
    """
    if name in sys.modules:
        return
    try:
        spec = find_spec(name)
    except ImportError:
        return
    if spec is None or spec.loader is None:
        return
    module = _Deferred(name)
    module.__dict__.update(known, _known=tuple(known), __spec__=spec, __loader__=spec.loader)
    module.__dict__.update(__file__=spec.origin, __package__=spec.parent)
    if spec.submodule_search_locations is not None:
        module.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = module
