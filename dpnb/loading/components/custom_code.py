"""Code that comes with a checkpoint or in a file of its own: where it is, and when it may run.

It runs only with `trust_remote_code=True`, and sees our classes where it asks for diffusers'.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from dpnb.errors import CheckpointError, ForeignCodeError, HubError
from dpnb.loading.checkpoint_paths import check_inside, find_checkpoint
from dpnb.loading.components.diffusers_shim import Importer
from dpnb.loading.components.registry import CUSTOM_PACKAGE
from dpnb.loading.filenames import is_bare
from dpnb.loading.hub import HubOptions, fetch, fetch_file
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.settings_files import FORMAT_VERSION

PIPELINE_FILE = "pipeline.py"
COMMUNITY = "diffusers/community-pipelines-mirror"
"""The data set that holds the community pipelines: a folder for each release of diffusers."""

_LOCK = threading.RLock()


@dataclass(frozen=True)
class Code:
    """A class in a Python file.

    Attributes:
        folder: what relative imports in the file start from.
        module: the file's name without `.py`.
        class_name: of the class; `None` for the only one of its kind in the file.
        is_named: whether the user has named the file itself, which may be a link then.
    """

    folder: Path
    module: str
    class_name: str | None = None
    is_named: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.module}.py"


@dataclass(frozen=True)
class Trust:
    """Whether foreign code may run; `DIFFUSERS_DISABLE_REMOTE_CODE=1`, a variable, forbids it.

    Attributes:
        is_given: `trust_remote_code=True` was passed.
    """

    is_given: bool

    def check(self, what: str) -> None:
        """Refuse to run `what` without it.

        Raises:
            ForeignCodeError: it may not run.
        """
        if os.environ.get("DIFFUSERS_DISABLE_REMOTE_CODE", "").upper() in ("1", "TRUE", "YES"):
            raise ForeignCodeError(
                f"Loading this would run {what} on this machine, which "
                "DIFFUSERS_DISABLE_REMOTE_CODE forbids; unset that variable if you trust the code."
            )
        if not self.is_given:
            raise ForeignCodeError(
                f"Loading this would run {what} on this machine; read it, and pass "
                "trust_remote_code=True if you trust it."
            )


class HasFiles(Protocol):
    """A checkpoint's folder, and the names of all its files."""

    @property
    def folder(self) -> Path:
        """Where it is on this machine."""
        ...

    @property
    def files(self) -> frozenset[str]:
        """Names with `/` between folders; not all of them need be on this machine."""
        ...


def find_pipeline(
    custom_pipeline: str,
    checkpoint: HasFiles | None,
    trust: Trust,
    hub: HubOptions,
    custom_revision: str | None = None,
) -> Code:
    """The pipeline class that `custom_pipeline` means; nothing is fetched that may not run.

    Args:
        custom_pipeline: a `.py` file; the name of one in the checkpoint; a folder or a repository
            with `pipeline.py`, or with the file that its index names; or a community pipeline.
        checkpoint: what is being loaded.
        trust: checked first.
        hub: where repositories are.
        custom_revision: of a repository; of a community pipeline, the release of diffusers.

    Raises:
        ForeignCodeError: it may not run.
        CheckpointError: there is no such file.
        HubError: the hub does not have it.
    """
    trust.check(describe_code(custom_pipeline))
    path = Path(custom_pipeline).expanduser()
    if path.suffix == ".py":
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}; give the path of a pipeline's file.")
        return Code(path.absolute().parent, path.stem, is_named=True)
    if checkpoint is not None and f"{custom_pipeline}.py" in checkpoint.files:
        return Code(checkpoint.folder, custom_pipeline)
    if path.is_dir():
        return _in_folder(path.absolute())
    options = replace(hub, revision=custom_revision or "main")
    if "/" not in custom_pipeline:
        return _of_community(custom_pipeline, options, custom_revision)
    wanted = (".py", ModelIndex.file_name)
    return _in_folder(
        fetch(custom_pipeline, lambda files: [f for f in files if f.endswith(wanted)], options)
    )


def load_class(code: Code, base: type[Any], homes: Mapping[str, str]) -> type[Any]:
    """Run the file of `code`, and its class.

    The file, and those it imports relatively, become modules of a package of their own, which
    replaces that of a former run.

    Args:
        code: what to run; whoever calls has checked that it may.
        base: what the class is derived from, where `code` does not name it.
        homes: see `Shim`.

    Raises:
        CheckpointError: the file has no such class, or a file lies outside of the folder.
        ImportError: it asks for what dpnb or this machine does not have.
    """
    package = _package_of(code.folder)
    with _LOCK, _package(package, code, homes) as load:
        module = load(f"{package}.{code.module}")
    if module is None:
        raise CheckpointError(f"There is no file {code.path}; download or save it again.")
    if code.class_name is not None:
        found = vars(module).get(code.class_name)
        if not isinstance(found, type):
            raise CheckpointError(
                f"{code.path} has no class {code.class_name}, which the index names; download or "
                "save it again."
            )
        return found
    return _only_class(code.path, module, base)


def file_of(kind: type[Any]) -> Code | None:
    """The file that `kind` was loaded from by `load_class`; `None` for other classes."""
    package, _, module = kind.__module__.partition(".")
    if not package.startswith(CUSTOM_PACKAGE):
        return None
    return Code(Path(sys.modules[package].__path__[0]), module, kind.__name__)


def files_of(code: Code) -> list[str]:
    """The files that ran with `code`: itself and what it imports relatively, with `/`."""
    package = _package_of(code.folder)
    loaded = [vars(m) for name, m in sys.modules.items() if name.startswith(f"{package}.")]
    paths = [Path(values["__file__"]) for values in loaded if "__file__" in values]
    return sorted({f"{code.module}.py", *(p.relative_to(code.folder).as_posix() for p in paths)})


def describe_code(custom_pipeline: str) -> str:
    """What `custom_pipeline` would run, as the end of a sentence."""
    if custom_pipeline.endswith(".py"):
        return custom_pipeline
    if "/" in custom_pipeline or Path(custom_pipeline).is_dir():
        return f"the pipeline's code in {custom_pipeline}"
    return f"the community pipeline {custom_pipeline!r}"


def _package_of(folder: Path) -> str:
    return CUSTOM_PACKAGE + hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]


def _in_folder(folder: Path) -> Code:
    if (folder / PIPELINE_FILE).is_file():
        return Code(folder, "pipeline")
    if (folder / ModelIndex.file_name).is_file():
        named = ModelIndex.read(folder).class_name
        if not isinstance(named, str) and (folder / f"{named[0]}.py").is_file():
            return Code(folder, *named)
    raise CheckpointError(
        f"{folder} has neither {PIPELINE_FILE} nor an index that names a file of it; give a "
        "pipeline's file, or the folder or repository that holds it."
    )


def _of_community(name: str, options: HubOptions, release: str | None) -> Code:
    """The community pipeline `name`, as of `release`; by default as of the one we write for."""
    if not is_bare(name):
        raise ValueError(f"{name!r} is not the name of a community pipeline; give a plain name.")
    releases = [f"v{FORMAT_VERSION}", "main"]
    if release is not None:
        releases = [f"v{release}" if release[:1].isdigit() else release]
    wanted = [f"{each}/{name}.py" for each in releases]
    found = fetch_file(COMMUNITY, wanted, replace(options, revision="main"), kind="dataset")
    if found is None:
        raise HubError(
            f"There is no community pipeline {name!r} for diffusers {' or '.join(releases)}; give "
            "a pipeline's file, a folder, or a repository's name."
        )
    return Code(found.parent, name)


@contextmanager
def _package(
    name: str, code: Code, homes: Mapping[str, str]
) -> Iterator[Callable[[str], ModuleType | None]]:
    """A new package over the code's folder in `sys.modules`; its modules load within, or none."""
    former = {n: m for n, m in sys.modules.items() if n == name or n.startswith(f"{name}.")}
    for each in former:
        del sys.modules[each]
    package = ModuleType(name)
    package.__path__ = [str(code.folder)]
    sys.modules[name] = package
    loader = _Loader(code, homes)
    try:
        yield loader.load
    except BaseException:
        for each in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
            del sys.modules[each]
        sys.modules.update(former)
        raise


class _Loader:
    def __init__(self, code: Code, homes: Mapping[str, str]) -> None:
        self._code = code
        self._importer = Importer(homes, self.load)

    def load(self, name: str) -> ModuleType | None:
        """The module of this full name, run if it has not been; `None` where there is no file."""
        with _LOCK:
            return sys.modules.get(name) or self._find(name)

    def _find(self, name: str) -> ModuleType | None:
        parent_name, _, tail = name.rpartition(".")
        parent = self.load(parent_name) if parent_name else None
        if parent is None or "__path__" not in vars(parent):
            return None
        place = Path(parent.__path__[0]) / tail
        if place.with_suffix(".py").is_file():
            return self._run(name, place.with_suffix(".py"), parent)
        if (place / "__init__.py").is_file():
            return self._run(name, place / "__init__.py", parent)
        return self._add_folder(name, place, parent) if place.is_dir() else None

    def _add_folder(self, name: str, place: Path, parent: ModuleType) -> ModuleType:
        """A folder without `__init__.py`, as a package with nothing of its own."""
        module = ModuleType(name)
        module.__path__ = [str(place)]
        sys.modules[name] = module
        setattr(parent, name.rpartition(".")[2], module)
        return module

    def _run(self, name: str, file: Path, parent: ModuleType) -> ModuleType:
        if not (self._code.is_named and file == self._code.path):
            check_inside(file, find_checkpoint(self._code.folder))
        module = ModuleType(name)
        is_package = file.name == "__init__.py"
        values = vars(module)
        values["__file__"] = str(file)
        values["__package__"] = name if is_package else parent.__name__
        values["__builtins__"] = self._importer.builtins()
        if is_package:
            values["__path__"] = [str(file.parent)]
        sys.modules[name] = module
        try:
            exec(compile(file.read_bytes(), str(file), "exec"), values)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        setattr(parent, name.rpartition(".")[2], module)
        return module


def _only_class(path: Path, module: ModuleType, base: type[Any]) -> type[Any]:
    """The class derived from `base` that the file defines; of a family, the last descendant."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
    ]
    last = [kind for kind in own if not any(kind in other.__mro__[1:] for other in own)]
    if len(last) != 1:
        names = ", ".join(sorted(kind.__name__ for kind in last)) or "none"
        raise CheckpointError(
            f"{path} must define one class derived from {base.__name__}, and defines {names}; "
            "give a file with one pipeline."
        )
    return last[0]
