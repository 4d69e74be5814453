"""Imports of diffusers, answered with our classes: for files that were written for diffusers.

Python asks the `__import__` in a module's own builtins to import. Where that is an `Importer`, the
file sees our names, now and whenever it imports later; `sys.modules` and every other file are left
as they are, whether the real diffusers is imported or not.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from typing_extensions import override

from dpnb.errors import ForeignNameError
from dpnb.loading.components.registry import find_in_transformers

FOREIGN = "diffusers"

_SUBPACKAGES = (
    "configuration_utils",
    "image_processor",
    "loaders",
    "models",
    "pipelines",
    "schedulers",
    "utils",
)


class Shim(ModuleType):
    """A module of diffusers as its users see it, with our objects in it.

    Every module offers all names, wherever diffusers keeps them: files name many former places.

    Args:
        name: of the module.
        homes: for each name the module of ours that has it; `"module:name"` where ours differs.
    """

    def __init__(self, name: str, homes: Mapping[str, str]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__all__ = list(homes)
        self._homes = homes

    @override
    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(missing_name_message(self.__name__, name))
        home, _, own_name = self._homes[name].partition(":")
        value = getattr(importlib.import_module(home), own_name or name)
        vars(self)[name] = value
        return value

    def child(self, name: str) -> Shim:
        """The module `name` inside this one."""
        if not isinstance(vars(self).get(name), Shim):
            vars(self)[name] = Shim(f"{self.__name__}.{name}", self._homes)
        inner: Shim = vars(self)[name]
        return inner


class Transformers(ModuleType):
    """transformers, where classes that it has renamed also go by their former names."""

    @override
    def __getattr__(self, name: str) -> Any:
        found = find_in_transformers(name)
        if found is None:
            raise AttributeError(f"transformers has no {name}; install a version that has it.")
        return found


class Importer:
    """What the files of one folder import with.

    Args:
        homes: as for `Shim`.
        load: makes the module of this full name available, if it is one of the folder's own.
    """

    def __init__(self, homes: Mapping[str, str], load: Callable[[str], object]) -> None:
        self._load = load
        self._root = Shim(FOREIGN, homes)
        for name in _SUBPACKAGES:
            self._root.child(name)

    def builtins(self) -> dict[str, Any]:
        """What a module gets as its `__builtins__`."""
        return {**vars(builtins), "__import__": self}

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """Import as the statement does that Python translates into this call.

        Raises:
            ForeignNameError: we do not have the name.
        """
        wanted = fromlist or ()
        if level > 0:
            package = (globals or {}).get("__package__") or ""
            full_name = importlib.util.resolve_name("." * level + name, package)
            self._load(full_name)
            for each in wanted:
                self._load(f"{full_name}.{each}")
        elif name.partition(".")[0] == FOREIGN:
            return self._ours(name, wanted)
        elif name == "transformers":
            return Transformers(name)
        return builtins.__import__(name, globals, locals, wanted, level)

    def _ours(self, name: str, wanted: Sequence[str]) -> Shim:
        module = self._root
        for part in name.split(".")[1:]:
            module = module.child(part)
        for each in wanted:
            if each != "*" and not hasattr(module, each):
                raise ForeignNameError(missing_name_message(name, each), name=name)
        return module if wanted else self._root


def missing_name_message(module: str, name: str) -> str:
    """The sentence that says that we do not have `name`."""
    return (
        f"this file asks for {name} of {module}, which dpnb does not have; change the file, or "
        "load it with diffusers."
    )
