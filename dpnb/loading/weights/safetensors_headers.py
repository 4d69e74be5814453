"""What weight files hold, from their headers alone: names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dpnb.errors import CheckpointError, HubError
from dpnb.files import decode_json
from dpnb.loading.checkpoint_files import check_checkpoint_file
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.loading.filenames import WeightName
from dpnb.loading.hub import HubOptions, local_folder, use_proxies
from dpnb.loading.hub.errors import explain_hub_errors, not_cached
from dpnb.loading.hub.responses import check_responses
from dpnb.loading.weights.tensor_files import DTYPES, damage_error

LENGTH = 8
"""A safetensors file begins with the length of its header, in so many bytes."""

LONGEST = 100 << 20


def read_headers(
    name: str | Path,
    files: Iterable[str],
    options: HubOptions | None = None,
    folder: Path | None = None,
) -> dict[str, dict[str, Tensor]]:
    """The tensors of weight files without their values, by the folder that the files are in.

    Of a repository's files those in the cache are read there, and of others nothing but the
    headers is fetched.

    Args:
        name: a folder, a built-in name, or a repository.
        files: names, with `/`; those that are not safetensors are passed over.
        options: how to fetch.
        folder: of a repository, its snapshot in the cache, whose commit is meant.

    Returns:
        Component → name → tensor on the meta device.

    Raises:
        CheckpointError: a header is damaged.
        HubError: as for `fetch`.
    """
    local = local_folder(name)
    place = folder if local is None else local
    options = options or HubOptions()
    found: dict[str, dict[str, Tensor]] = {}
    for file in files:
        parsed = WeightName.parse(file.rpartition("/")[2])
        if parsed is None or parsed.extension != "safetensors" or parsed.is_index:
            continue
        if place is not None and (place == local or (place / file).is_file()):
            own = _read_local(check_inside(place / file, place))
        elif options.local_files_only:
            raise HubError(not_cached(str(name), options.revision, f" ({file} is not there)"))
        else:
            own = _read_remote(str(name), file, _at_commit(options, folder))
        found.setdefault(file.rpartition("/")[0], {}).update(own)
    return found


def _read_local(path: Path) -> dict[str, Tensor]:
    check_checkpoint_file(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if not 0 < length <= LONGEST:
            raise CheckpointError(
                f"{path} has no safetensors header; download or save the model again."
            )
        text = file.read(length)
    try:
        entries = decode_json(text)
        return {
            key: _empty_tensor(value["shape"], value["dtype"], str(path))
            for key, value in entries.items()
            if key != "__metadata__"
        }
    except CheckpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise damage_error(path, error) from error


def _at_commit(options: HubOptions, snapshot: Path | None) -> HubOptions:
    return options if snapshot is None else replace(options, revision=snapshot.name)


def _read_remote(name: str, file: str, options: HubOptions) -> dict[str, Tensor]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    api = HfApi(endpoint=options.endpoint, token=options.hub_token)
    try:
        with (
            explain_hub_errors(name, options.revision),
            use_proxies(options.proxies),
            check_responses(),
        ):
            read = api.parse_safetensors_file_metadata(name, file, revision=options.revision)
    except SafetensorsParsingError as error:
        raise damage_error(f"{name}/{file}", error) from error
    return {
        key: _empty_tensor(info.shape, info.dtype, f"{name}/{file}")
        for key, info in read.tensors.items()
    }


def _empty_tensor(shape: Iterable[int], dtype: str, source: str) -> Tensor:
    known: Mapping[str, torch.dtype] = {spelled: kind for kind, spelled in DTYPES.items()}
    if dtype not in known:
        raise CheckpointError(
            f"{source} holds tensors of dtype {dtype}, which dpnb does not read; "
            "use another form of this model."
        )
    return torch.empty(tuple(shape), dtype=known[dtype], device="meta")
