"""Which weight files of a repository are chosen, by the names that scripts ask it by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from dpnb.errors import VariantError
from dpnb.loading.filenames import WeightName

Weights = dict[str, WeightName | None]
"""Files by their paths; `None` for weights in a form that only others read."""

ONNX = frozenset({"model.onnx", "weights.pb"})


def is_safetensors_compatible(
    filenames: Iterable[str],
    passed_components: Collection[str] | None = None,
    folder_names: Collection[str] | None = None,
    variant: str | None = None,
) -> bool:
    """Whether each component has safetensors, of `variant` where it has that one.

    Args:
        filenames: of a repository, with `/` between folders.
        passed_components: folders that do not count.
        folder_names: those that alone do; all by default.
        variant: such as `"fp16"`; components without it have plain weights.
    """
    folders = {
        folder: weights
        for folder, named in _by_folder(filenames).items()
        if (weights := _whole(named)) and (not folder_names or folder in folder_names)
    }
    parts = {
        name: w for name, w in folders.items() if name and name not in (passed_components or ())
    }
    return all(
        any(
            weight is not None and weight.extension == "safetensors"
            for weight in _chosen(weights, variant).values()
        )
        for weights in (parts or {"": folders.get("", {})}).values()
    )


def variant_compatible_siblings(
    filenames: Iterable[str],
    variant: str | None = None,
    ignore_patterns: Collection[str] | None = None,
) -> tuple[set[str], set[str]]:
    """The weight files to load, and those of them that are of `variant`.

    Args:
        filenames: of a repository, with `/` between folders.
        variant: such as `"fp16"`; components without it give their plain weights.
        ignore_patterns: of files to leave out, such as `"*.bin"`.

    Raises:
        VariantError: there is nothing of `variant`.
    """
    endings = tuple(pattern.lstrip("*") for pattern in ignore_patterns or ())
    folders = _by_folder(file for file in filenames if not file.endswith(endings))
    chosen = {
        file: weight
        for weights in folders.values()
        for file, weight in _chosen(weights, variant).items()
    }
    of_variant = {
        f for f, w in chosen.items() if w and variant is not None and w.variant == variant
    }
    if variant is not None and not of_variant:
        raise VariantError(
            f"Of the `variant={variant}` there is no weight file here; leave out variant=."
        )
    return {*chosen}, of_variant


def _by_folder(filenames: Iterable[str]) -> Mapping[str, Weights]:
    folders: dict[str, Weights] = defaultdict(dict)
    for file in filenames:
        folder, _, name = file.rpartition("/")
        weight = WeightName.parse(name)
        if weight is not None or name in ONNX:
            folders[folder.partition("/")[0]][file] = weight
    return folders


def _whole(weights: Weights) -> Weights:
    """All but the indexes of shards."""
    return {file: w for file, w in weights.items() if w is None or not w.is_index}


def _chosen(weights: Weights, variant: str | None) -> Weights:
    """Those of `variant` where there are some, else the plain ones."""
    there = any(w is not None and w.variant == variant for w in _whole(weights).values())
    wanted = variant if there else None
    return {file: w for file, w in weights.items() if (w.variant if w else None) == wanted}
