"""What weight files hold, from their headers alone: names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.files import decode_json
from dpnb.loading.config import check_file
from dpnb.loading.filenames import WeightName
from dpnb.loading.hub import HubOptions, local_folder
from dpnb.loading.refusals import explained
from dpnb.loading.tensorfile import DTYPES, damaged

LENGTH = 8
"""A safetensors file begins with the length of its header, in so many bytes."""

LONGEST = 100 << 20


def headers(
    name: str | Path, files: Iterable[str], options: HubOptions | None = None
) -> dict[str, dict[str, Tensor]]:
    """The tensors of weight files without their values, by the folder that the files are in.

    Of a repository's files nothing but the headers is fetched.

    Args:
        name: a folder, a built-in name, or a repository.
        files: names, with `/`; those that are not safetensors are passed over.
        options: how to fetch.

    Returns:
        Component → name → tensor on the meta device.

    Raises:
        CheckpointError: a header is damaged.
        HubError: as for `fetch`.
    """
    folder = local_folder(name)
    found: dict[str, dict[str, Tensor]] = {}
    for file in files:
        parsed = WeightName.parse(file.rpartition("/")[2])
        if parsed is None or parsed.extension != "safetensors" or parsed.is_index:
            continue
        own = (
            _remote(str(name), file, options or HubOptions())
            if folder is None
            else _local(folder / file)
        )
        found.setdefault(file.rpartition("/")[0], {}).update(own)
    return found


def _local(path: Path) -> dict[str, Tensor]:
    check_file(path)
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
            key: _outlined(value["shape"], value["dtype"], str(path))
            for key, value in entries.items()
            if key != "__metadata__"
        }
    except CheckpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise damaged(path, error) from error


def _remote(name: str, file: str, options: HubOptions) -> dict[str, Tensor]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    api = HfApi(endpoint=options.endpoint, token=options.sent_token)
    try:
        with explained(name, options.revision):
            read = api.parse_safetensors_file_metadata(name, file, revision=options.revision)
    except SafetensorsParsingError as error:
        raise damaged(f"{name}/{file}", error) from error
    return {
        key: _outlined(info.shape, info.dtype, f"{name}/{file}")
        for key, info in read.tensors.items()
    }


def _outlined(shape: Iterable[int], dtype: str, source: str) -> Tensor:
    known: Mapping[str, torch.dtype] = {spelled: kind for kind, spelled in DTYPES.items()}
    if dtype not in known:
        raise CheckpointError(
            f"{source} holds tensors of dtype {dtype}, which dpnb does not read; "
            "use another form of this model."
        )
    return torch.empty(tuple(shape), dtype=known[dtype], device="meta")
