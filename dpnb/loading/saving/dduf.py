"""DDUF files: a whole pipeline in one zip without compression, weights mapped where they lie in it.

The layout: `model_index.json`, and one folder for each component that the index names, with
configurations, tokenizer files and safetensors (https://huggingface.co/docs/hub/dduf).
"""

from __future__ import annotations

import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from dpnb.atomic import write_atomically
from dpnb.errors import CheckpointError
from dpnb.loading.filenames import is_bare
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.weights.embedded_files import EmbeddedFile

if TYPE_CHECKING:
    from huggingface_hub import DDUFEntry

SUFFIX = ".dduf"
ALIGNMENT = 64
"""Bytes; weights that we write begin at a multiple of it, so that every dtype can be mapped."""

MAX_SMALL = 256 * 2**20
"""Bytes of everything but weights, which is unpacked; the tokenizers of today take 20 MiB."""

_WEIGHTS = ".safetensors"
_HEADER = 30 + 20
"""Bytes of a zip entry before its name, and of the sizes in eight bytes after it."""

_DAMAGES = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
)

Entry: TypeAlias = tuple[str, Path]
"""A file's name inside, with `/` after its folder, and the file on disk."""


@dataclass(frozen=True)
class DDUFFile:
    """A DDUF file that is open.

    Attributes:
        folder: its small files, on disk.
        embedded: its weight files where they lie in it, by component and by name.
    """

    folder: Path
    embedded: Mapping[str, Mapping[str, EmbeddedFile]]

    @property
    def names(self) -> list[str]:
        """All its files, with `/` between folder and name."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        small = [path.relative_to(self.folder).as_posix() for path in files]
        return small + [
            f"{folder}/{name}" for folder in self.embedded for name in self.embedded[folder]
        ]


@contextmanager
def open_dduf(path: Path) -> Iterator[DDUFFile]:
    """The DDUF file `path`, its small files in a temporary folder until the block ends.

    Nothing of it is written unless all of it is in order.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds what no DDUF file may.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}; give the path of a DDUF file.")
    entries = _read(path)
    with TemporaryDirectory(prefix="dpnb-dduf-") as directory:
        folder = Path(directory)
        embedded: dict[str, dict[str, EmbeddedFile]] = {}
        with path.open("rb") as file:
            for entry in entries:
                inner, _, name = entry.filename.rpartition("/")
                if not inner and name != ModelIndex.file_name:
                    continue
                if name.endswith(_WEIGHTS):
                    part = EmbeddedFile(path, entry.offset, entry.length, entry.filename)
                    embedded.setdefault(inner, {})[name] = part
                    continue
                (folder / inner).mkdir(exist_ok=True)
                file.seek(entry.offset)
                (folder / inner / name).write_bytes(file.read(entry.length))
        for inner in embedded:
            (folder / inner).mkdir(exist_ok=True)
        yield DDUFFile(folder, embedded)


def write_dduf(path: Path, entries: Iterable[Entry]) -> None:
    """Write a DDUF file, which takes the place of a former one when it is complete.

    Args:
        path: of the file.
        entries: taken one after the other, so that files may be made as they are asked for. What
            comes before weights must be JSON: it is filled up with spaces to align them.

    Raises:
        CheckpointError: the disk is full; the former file is untouched.
        ValueError: an entry is not of the kind that such files hold.
    """
    from huggingface_hub import export_entries_as_dduf
    from huggingface_hub.errors import DDUFExportError

    path = path.resolve()
    try:
        with write_atomically(path, CheckpointError) as file:
            export_entries_as_dduf(file.name, _align(entries))
    except DDUFExportError as error:
        raise ValueError(
            f"{path} cannot be written ({error}); save into a folder instead."
        ) from error


def list_in_dduf_order(folder: Path) -> list[Path]:
    """The files of a component in the order in which `write_dduf` takes them: weights come last."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return sorted(files, key=lambda p: (p.suffix == _WEIGHTS, p.suffix == ".json", p.name))


def _align(entries: Iterable[Entry]) -> Iterator[tuple[str, Path | bytes]]:
    """`entries`, with spaces at the end of JSON where the weights after it need them."""
    position = 0
    held: tuple[str, bytes] | None = None
    for name, path in entries:
        if held is not None:
            is_padded = name.endswith(_WEIGHTS)
            end = position + _HEADER + len(held[0]) + len(held[1])
            gap = -(end + _HEADER + len(name)) % ALIGNMENT if is_padded else 0
            yield held[0], held[1] + b" " * gap
            position, held = end + gap, None
        if name.endswith(".json"):
            held = name, path.read_bytes()
        else:
            yield name, path
            position += _HEADER + len(name) + path.stat().st_size
    if held is not None:
        yield held


def _read(path: Path) -> list[DDUFEntry]:
    """The entries of `path` in the order in which they lie, each checked."""
    from huggingface_hub import read_dduf_file
    from huggingface_hub.errors import DDUFError

    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        _check_kinds(path, infos)
        entries = sorted(read_dduf_file(path).values(), key=lambda entry: entry.offset)
    except DDUFError as error:
        raise _refusal(path, str(error.__cause__ or error)) from error
    except (*_DAMAGES, ValueError) as error:
        raise _refusal(path, str(error)) from error
    _check_places(path, entries)
    return entries


def _check_kinds(path: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    counts = Counter(info.filename for info in infos)
    checks: list[tuple[str, Callable[[zipfile.ZipInfo], bool]]] = [
        ("lies outside the file's folders", lambda i: not _is_inside(i.filename)),
        ("is there twice", lambda i: counts[i.filename] > 1),
        ("is compressed", lambda i: i.compress_type != zipfile.ZIP_STORED),
        ("is encrypted", lambda i: bool(i.flag_bits & 1)),
        ("is not as long as it says", lambda i: i.compress_size != i.file_size),
    ]
    for rule, is_broken in checks:
        for info in infos:
            if is_broken(info):
                raise _refusal(path, f"{info.filename!r} {rule}")


def _is_inside(name: str) -> bool:
    folder, slash, file = name.rpartition("/")
    return is_bare(file) and (folder.isidentifier() or not slash)


def _check_places(path: Path, entries: Sequence[DDUFEntry]) -> None:
    end, small = 0, 0
    for entry in entries:
        if entry.offset < end:
            raise _refusal(path, f"{entry.filename!r} overlaps with another entry")
        end = entry.offset + entry.length
        small += 0 if entry.filename.endswith(_WEIGHTS) else entry.length
    if end > path.stat().st_size:
        raise _refusal(path, f"{entries[-1].filename!r} is longer than the file")
    if small > MAX_SMALL:
        raise _refusal(path, f"it holds {small} bytes beside its weights")


def _refusal(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a DDUF file that can be trusted: {reason.rstrip('.')}; download or save it "
        "again."
    )
