"""Which files of a repository a pipeline or a single model needs: pure functions over names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from dpnb.errors import CheckpointError, VariantError
from dpnb.loading.filenames import Extension, WeightName
from dpnb.loading.model_index import ModelIndex

_OTHER_FRAMEWORKS = (".msgpack", ".h5", ".onnx", ".pb", ".ot", ".tflite", ".flashpack", ".gguf")
_ONNX = (".onnx", ".pb")
_TOP_LEVEL = frozenset({ModelIndex.file_name})
_CONFIGS = frozenset({"config.json", "scheduler_config.json"})


def select_pipeline_files(
    files: Iterable[str],
    index: ModelIndex,
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    passed: Collection[str] = (),
    use_onnx: bool = False,
    with_code: bool = False,
) -> list[str]:
    """The files of the pipeline that `index` describes, sorted.

    The index itself, and the folder of every component: the whole folder where it holds no
    weights, else its configuration and one set of weights. Components without a folder may have
    their files at the top. Safetensors are chosen if every
    component has them, else `.bin` throughout; a variant if the component has it, else its plain
    weights.

    Args:
        files: All files of the repository, with `/` between folders.
        index: The pipeline's index.
        variant: For example `"fp16"`.
        use_safetensors: `True` for safetensors only, `False` for `.bin` only, `None` for either.
        passed: Components that the caller brings along, whose files are not needed.
        use_onnx: Take ONNX files too.
        with_code: Take all Python files too.

    Raises:
        VariantError: no component has the variant.
        CheckpointError: none has the weights in the format asked for.
    """
    wanted = {name for name, part in index.components.items() if part} - set(passed)
    folders: dict[str, list[str]] = {name: [] for name in sorted(wanted)}
    chosen: list[str] = []
    top: list[str] = []
    code = (".py",) if with_code else ()
    for file in files:
        folder, _, name = file.rpartition("/")
        if file in index.ignored or name.endswith(_unwanted(use_onnx)):
            continue
        if file in _TOP_LEVEL or name.endswith(code):
            chosen.append(file)
        elif folder in folders:
            folders[folder].append(name)
        elif not folder and (name in _CONFIGS or WeightName.parse(name)):
            top.append(name)
    if any(not names for names in folders.values()):
        folders[""] = top
    _check_variant(folders, variant)
    extension = _common_extension(folders, variant, use_safetensors)
    for folder, names in folders.items():
        kept = _of_component(names, extension, variant)
        kept |= {name for name in names if name.endswith(_ONNX)}
        chosen += [f"{folder}/{name}" if folder else name for name in kept]
    return sorted(chosen)


def select_model_files(
    files: Iterable[str],
    subfolder: str = "",
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
) -> list[str]:
    """The files of one model in `subfolder` (`""`: the top) of a repository, sorted.

    Raises:
        VariantError: it has no such variant.
        CheckpointError: it has no such folder, or weights in the format asked for.
    """
    prefix = f"{subfolder.strip('/')}/" if subfolder else ""
    names = [
        file.removeprefix(prefix)
        for file in files
        if file.startswith(prefix) and "/" not in file.removeprefix(prefix)
    ]
    if not names:
        raise CheckpointError(f"The repository has no folder {subfolder!r}; check subfolder=.")
    folders = {subfolder: names}
    _check_variant(folders, variant)
    extension = _common_extension(folders, variant, use_safetensors)
    return sorted(prefix + name for name in _of_component(names, extension, variant))


def _unwanted(use_onnx: bool) -> tuple[str, ...]:
    return tuple(e for e in _OTHER_FRAMEWORKS if not (use_onnx and e in _ONNX))


def _of_component(names: Sequence[str], extension: Extension, variant: str | None) -> set[str]:
    """One set of weights and `config.json`, or all files of a component without weights."""
    weights = _weights(names)
    if not weights:
        return set(names)
    matching = {name: w for name, w in weights.items() if w.extension == extension} or weights
    has_variant = variant is not None and any(_holds(w, variant) for w in matching.values())
    kept = {name for name, w in matching.items() if w.variant == (variant if has_variant else None)}
    return kept | (_CONFIGS & set(names))


def _common_extension(
    folders: dict[str, list[str]], variant: str | None, use_safetensors: bool | None
) -> Extension:
    """Safetensors if every component has them; an error if one lacks what was asked for."""
    extension: Extension = "bin" if use_safetensors is False else "safetensors"
    for folder, names in folders.items():
        weights = list(_weights(names).values())
        if not weights or _has(weights, extension, variant):
            continue
        if use_safetensors is not None:
            raise CheckpointError(
                f"{folder or 'The repository'} has no {extension} weights; "
                f"leave out use_safetensors={use_safetensors}."
            )
        return "bin"
    return extension


def _has(weights: Sequence[WeightName], extension: Extension, variant: str | None) -> bool:
    """Whether the set of weights that `variant` leads to exists in the format `extension`."""
    effective = variant if any(_holds(w, variant) for w in weights) else None
    return any(_holds(w, effective) and w.extension == extension for w in weights)


def _holds(weight: WeightName, variant: str | None) -> bool:
    return weight.variant == variant and not weight.is_index


def _check_variant(folders: dict[str, list[str]], variant: str | None) -> None:
    if variant is None:
        return
    present = {w.variant for names in folders.values() for w in _weights(names).values()}
    if present and variant not in present:
        others = ", ".join(repr(v) for v in sorted(v for v in present if v is not None))
        raise VariantError(
            f"You are trying to load the model files of the `variant={variant}`, which are not "
            + (f"here; the variants are {others}." if others else "here; leave out variant=.")
        )


def _weights(names: Iterable[str]) -> dict[str, WeightName]:
    parsed = {name: WeightName.parse(PurePosixPath(name).name) for name in names}
    return {name: weight for name, weight in parsed.items() if weight is not None}
