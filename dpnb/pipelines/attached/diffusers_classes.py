"""The one door to diffusers: its classes, by the names that an index has for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from dpnb.errors import CheckpointError, ComponentError
from dpnb.silence import silence_imports, silence_transformers

LIBRARY = "diffusers"


def find_diffusers_class(library: str, class_name: str) -> type[Any] | None:
    """The class that an index files under diffusers, or under the folder of one of its pipelines.

    Args:
        library: `"diffusers"`, or such a folder: `"stable_audio"`.
        class_name: of a pipeline, a model, a scheduler, or another component.

    Returns:
        It; `None` where `library` is another.

    Raises:
        ComponentError: diffusers, or what its class needs, is not installed.
        CheckpointError: this release of diffusers has no such class.
    """
    diffusers = _import_diffusers(class_name)
    with silence_transformers(), _silence(diffusers):
        module = diffusers if library == LIBRARY else _find_folder(diffusers, library)
        if module is None:
            return None
        found = _find(module, class_name)
    if not isinstance(found, type) or not found.__module__.startswith(f"{LIBRARY}."):
        raise CheckpointError(
            f"diffusers {diffusers.__version__} has no {class_name}; install a release that has it."
        )
    if found.__module__.startswith(f"{LIBRARY}.utils.dummy"):
        needed = ", ".join(vars(found)["_backends"])
        raise ComponentError(f"diffusers' {class_name} needs {needed}; install what is missing.")
    return found


def _import_diffusers(class_name: str) -> ModuleType:
    try:
        with silence_imports():
            import diffusers

            found: ModuleType = diffusers
    except ImportError as error:
        raise ComponentError(
            f"{class_name} is a class of diffusers, which cannot be imported here ({error}); "
            "install it with: pip install diffusers."
        ) from error
    return found


@contextmanager
def _silence(diffusers: ModuleType) -> Iterator[None]:
    """Within it diffusers reports errors only; it imports most of itself when that is needed."""
    logging = diffusers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _find_folder(diffusers: ModuleType, library: str) -> ModuleType | None:
    """The folder of a pipeline: only what diffusers itself has there is ever imported."""
    pipelines = diffusers.pipelines
    for parent in (pipelines, import_module(f"{pipelines.__name__}.deprecated")):
        folders = {found.name for found in iter_modules(parent.__path__) if found.ispkg}
        if library in folders:
            return import_module(f"{parent.__name__}.{library}")
    return None


def _find(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except (AttributeError, RuntimeError):
        return None
