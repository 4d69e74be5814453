"""Where an adapter is: a file, a folder, a repository, with what was noted beside its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from dpnb.errors import CheckpointError
from dpnb.files import MAX_JSON
from dpnb.loading.adapters.peft_settings import AdapterSettings, parse_settings
from dpnb.loading.checkpoint_files import check_checkpoint_file
from dpnb.loading.checkpoint_paths import check_inside, list_files
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.weights.tensor_files import read_tensors

USUAL_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file, in this order where there are several."""

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
    file = _file(source, weight_name, subfolder, options)
    tensors = dict(read_tensors(file, lambda _, stored: stored, torch.device("cpu")))
    return StoredAdapter(_check_tensors(tensors, str(file)), _settings(file))


def _check_tensors(tensors: Mapping[Any, Any], origin: str) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{origin} has {type(tensor).__name__} under the name {name!r}; an adapter is "
                "tensors by names of text."
            )
    return dict(tensors)


def _settings(file: Path) -> dict[str, AdapterSettings]:
    found: dict[str, AdapterSettings] = {}
    config = file.parent / CONFIG
    if _is_of_peft(file.name) and config.is_file():
        origin = str(config)
        found[""] = AdapterSettings.parse(
            parse_settings(_text(check_inside(config)), origin), origin
        )
    text = _metadata(file).get(METADATA) if file.suffix == ".safetensors" else None
    if text is not None:
        origin = f"The {METADATA} of {file}"
        values: dict[str, dict[str, Any]] = {}
        for key, value in parse_settings(text, origin).items():
            component, _, name = key.partition(".")
            values.setdefault(component, {})[name] = value
        found |= {name: AdapterSettings.parse(own, origin) for name, own in values.items()}
    return found


def _text(file: Path) -> str:
    check_checkpoint_file(file, MAX_JSON)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} is no text in UTF-8; save the adapter again.") from error


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return dict(opened.metadata() or {})


def _is_of_peft(name: str) -> bool:
    return PurePosixPath(name).stem == "adapter_model"


def _file(
    source: str | Path, weight_name: str | None, subfolder: str | None, options: HubOptions | None
) -> Path:
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
