"""Where an adapter is: a file, a folder, a repository, with what was noted beside its weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from typing_extensions import Self

from dpnb.atomic import write_atomically, write_bytes
from dpnb.errors import CheckpointError
from dpnb.files import MAX_JSON
from dpnb.loading.adapters.peft_settings import AdapterSettings, parse_settings
from dpnb.loading.checkpoint_files import check_checkpoint_file
from dpnb.loading.checkpoint_paths import check_inside, list_files
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.weights.tensor_files import read_tensors

USUAL_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file, in this order where there are several."""

BIN_NAME = "pytorch_lora_weights.bin"

SUFFIXES = (".safetensors", ".bin", ".pt", ".ckpt")

CONFIG = "adapter_config.json"
"""Where peft notes settings, beside a file of its own name for weights."""

METADATA = "lora_adapter_metadata"
"""Where diffusers notes them, in the weights' file."""


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter as it was saved.

    Attributes:
        tensors: by the names that its trainer gave them, on the CPU.
        settings: by component; that of the empty name is for all of them.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, AdapterSettings] = field(default_factory=dict)

    def with_scales(
        self, alphas: Mapping[str, float] | None, metadata: Mapping[str, Any] | None
    ) -> Self:
        """The same, with scales that are given beside it.

        Args:
            alphas: by the layer's name, with or without `.alpha` at its end.
            metadata: as peft notes settings, by the component's name and theirs.

        Raises:
            CheckpointError: settings ask for more than plain LoRA.
        """
        named = {n if n.endswith(".alpha") else f"{n}.alpha": v for n, v in (alphas or {}).items()}
        tensors = {**self.tensors, **_check_tensors(named, "network_alphas")}
        settings = {**self.settings, **_settings_of(metadata or {}, "metadata")}
        return replace(self, tensors=tensors, settings=settings)

    def of_part(self, component: str, prefix: str | None) -> Self:
        """What it has for one component, by names that begin with the component's.

        Args:
            component: the name.
            prefix: how names begin that are taken; by default all are, or those of the component
                where it has any.

        Raises:
            CheckpointError: nothing begins so.
        """
        if prefix is None:
            is_own = any(name.startswith(f"{component}.") for name in self.tensors)
            return self.restricted_to(component) if is_own else self
        own = self.restricted_to(prefix)
        renamed = {component + name.removeprefix(prefix): t for name, t in own.tensors.items()}
        settings = own.settings.get(prefix) or own.settings.get("")
        return replace(own, tensors=renamed, settings={component: settings} if settings else {})

    def restricted_to(self, component: str) -> Self:
        """What it has for one component alone.

        Raises:
            CheckpointError: nothing.
        """
        prefix = f"{component}."
        tensors = {name: value for name, value in self.tensors.items() if name.startswith(prefix)}
        if not tensors:
            raise CheckpointError(
                f"The adapter has no tensor whose name begins with {prefix!r}; leave prefix= out."
            )
        return replace(self, tensors=tensors)


def read_adapter(
    source: str | Path | Mapping[str, Tensor],
    weight_name: str | None = None,
    subfolder: str | None = None,
    options: HubOptions | None = None,
) -> StoredAdapter:
    """Read an adapter.

    Args:
        source: a file, a folder, a repository of the hub, or the tensors themselves.
        weight_name: of the file in a folder or repository; by default the usual name, or the only
            file of weights there.
        subfolder: where that file is.
        options: how files come from the hub.

    Raises:
        CheckpointError: there is no such file, several could be meant, or it is damaged.
        HubError: the repository cannot be reached.
    """
    if isinstance(source, Mapping):
        return StoredAdapter(_check_tensors(source, "The adapter"))
    file = find_adapter_file(source, weight_name, subfolder, options)
    tensors = dict(read_tensors(file, lambda _, stored: stored, torch.device("cpu")))
    return StoredAdapter(_check_tensors(tensors, str(file)), _settings(file))


def find_adapter_file(
    source: str | Path,
    weight_name: str | None = None,
    subfolder: str | None = None,
    options: HubOptions | None = None,
) -> Path:
    """The file of weights that `read_adapter` reads; it is fetched where it is on the hub.

    Args:
        source: a file, a folder, or a repository of the hub.
        weight_name: of the file in a folder or repository.
        subfolder: where that file is.
        options: how files come from the hub.

    Raises:
        CheckpointError: there is no such file, or several could be meant.
        HubError: the repository cannot be reached.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.suffix in SUFFIXES and not path.is_dir():
        raise CheckpointError(f"There is no file {path}; check its name.")
    chosen: list[str] = []
    prefix = f"{subfolder.strip('/')}/" if subfolder else ""

    def select(files: Sequence[str]) -> list[str]:
        known = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
        name = prefix + _choose(f"{source}/{prefix}" if prefix else source, known, weight_name)
        chosen.append(name)
        config = PurePosixPath(name).with_name(CONFIG).as_posix()
        return [name, *([config] if _is_of_peft(name) and config in files else [])]

    folder = fetch(source, select, options)
    if not chosen:
        select(list_files(folder))
    return check_inside(folder / chosen[0], folder)


def read_adapter_metadata(file: Path) -> dict[str, str]:
    """What a trainer has noted in the file of weights; nothing where its format has no room.

    Raises:
        CheckpointError: the file is damaged.
    """
    if file.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} is no readable safetensors file ({error}); fetch it again."
        ) from error


def _check_tensors(given: Mapping[Any, Any], origin: str) -> dict[str, Tensor]:
    """The tensors; an alpha may be a plain number."""
    tensors = {
        name: torch.tensor(value) if _is_number(name, value) else value
        for name, value in given.items()
    }
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{origin} has {type(tensor).__name__} under the name {name!r}; an adapter is "
                "tensors by names of text."
            )
    return tensors


def _is_number(name: Any, value: Any) -> bool:
    is_plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(name, str) and name.endswith(".alpha") and is_plain


def _settings(file: Path) -> dict[str, AdapterSettings]:
    found: dict[str, AdapterSettings] = {}
    config = file.parent / CONFIG
    if _is_of_peft(file.name) and config.is_file():
        origin = str(config)
        found[""] = AdapterSettings.parse(
            parse_settings(_text(check_inside(config)), origin), origin
        )
    text = read_adapter_metadata(file).get(METADATA)
    if text is not None:
        origin = f"The {METADATA} of {file}"
        found |= _settings_of(parse_settings(text, origin), origin)
    return found


def _settings_of(noted: Mapping[str, Any], origin: str) -> dict[str, AdapterSettings]:
    """Settings by component, whose names begin theirs; by the empty name where none do."""
    values: dict[str, dict[str, Any]] = {}
    for key, value in noted.items():
        component, dot, name = key.partition(".")
        values.setdefault(component if dot else "", {})[name if dot else key] = value
    return {name: AdapterSettings.parse(own, origin) for name, own in values.items()}


def read_metadata(source: str | Path | Mapping[str, Tensor], *where: Any) -> dict[str, Any] | None:
    """What was noted beside the weights, as it stands there; `None` where nothing was.

    Args:
        source: as for `read_adapter`.
        where: likewise.
    """
    if isinstance(source, Mapping):
        return None
    file = find_adapter_file(source, *where)
    text = read_adapter_metadata(file).get(METADATA)
    return None if text is None else dict(parse_settings(text, f"The {METADATA} of {file}"))


def write_adapter(
    folder: Path,
    tensors: Mapping[str, Tensor],
    noted: Mapping[str, Any],
    *,
    weight_name: str | None = None,
    safe_serialization: bool = True,
) -> None:
    """Write an adapter into a folder, which is made where there is none.

    Args:
        folder: where to.
        tensors: by name.
        noted: settings beside them, which a `.bin` file has no room for.
        weight_name: of the file; by default what diffusers calls it.
        safe_serialization: `False` writes a `.bin` file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    if safe_serialization:
        metadata = {"format": "pt"}
        if noted:
            plain = {name: _plain(value) for name, value in noted.items()}
            metadata[METADATA] = json.dumps(plain, indent=2, sort_keys=True)
        write_bytes(folder / (weight_name or USUAL_NAMES[0]), save(own, metadata))
    else:
        with write_atomically(folder / (weight_name or BIN_NAME)) as stream:
            torch.save(own, stream)


def _plain(value: Any) -> Any:
    """A setting as JSON holds it."""
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def _text(file: Path) -> str:
    check_checkpoint_file(file, MAX_JSON)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} is no text in UTF-8; save the adapter again.") from error


def _is_of_peft(name: str) -> bool:
    return PurePosixPath(name).stem == "adapter_model"


def _choose(source: str | Path, files: list[str], weight_name: str | None) -> str:
    if weight_name is not None:
        if weight_name in files:
            return weight_name
        raise CheckpointError(f"{source} has no file {weight_name}; it has {_listed(files)}.")
    weights = [name for name in files if Path(name).suffix in SUFFIXES]
    for usual in USUAL_NAMES:
        if usual in weights:
            return usual
    preferred = [name for name in weights if name.endswith(".safetensors")] or weights
    if len(preferred) == 1:
        return preferred[0]
    raise CheckpointError(
        f"{source} has {'several files' if preferred else 'no file'} of weights "
        f"({_listed(preferred or files)}); say which with weight_name."
    )


def _listed(files: Iterable[str]) -> str:
    shown = sorted(files)
    return f"{', '.join(shown[:8])}, …" if len(shown) > 8 else ", ".join(shown) or "nothing"
