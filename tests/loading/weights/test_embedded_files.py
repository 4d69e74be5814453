from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading.weights.embedded_files import (
    EmbeddedFile,
    read_embedded_tensor_names,
    read_embedded_tensors,
)
from dpnb.loading.weights.tensor_files import write_safetensors
from dpnb.loading.weights.weight_files import find_weights, read_weights

CPU = torch.device("cpu")
STEM = "diffusion_pytorch_model"
STATE = {
    "a": torch.arange(12.0).reshape(3, 4),
    "b": torch.arange(5, dtype=torch.bfloat16),
    "c": torch.tensor([True, False]),
    "d": torch.empty(0, 3),
    "e": torch.tensor(7, dtype=torch.int64),
}


def inside(tmp_path: Path, state: dict[str, Tensor], *, shift: int = 64) -> EmbeddedFile:
    """A slice of a larger file that holds `state` from byte `shift` on."""
    write_safetensors(state, tmp_path / "plain.safetensors")
    content = (tmp_path / "plain.safetensors").read_bytes()
    (tmp_path / "large").write_bytes(b"x" * shift + content + b"y" * 100)
    return EmbeddedFile(tmp_path / "large", shift, len(content), f"unet/{STEM}.safetensors")


def read(part: EmbeddedFile, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    return dict(read_embedded_tensors(part, lambda name, stored: dtype or stored, CPU))


def backing(tensor: Tensor) -> str:
    """The file that the memory of `tensor` is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5)
        start, end = (int(bound, 16) for bound in span.split("-"))
        if start <= tensor.data_ptr() < end:
            return name
    return ""


@pytest.mark.parametrize("shift", [0, 1, 64, 4096, 10_003])
def test_every_tensor_comes_out_as_it_went_in(tmp_path: Path, shift: int) -> None:
    found = read(inside(tmp_path, STATE, shift=shift))
    assert found.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_aligned_tensors_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    part = inside(tmp_path, STATE)
    found = read(part)
    assert backing(found["a"]) == backing(found["b"]) == str(part.path)
    before = part.path.read_bytes()
    found["a"].fill_(1)
    assert part.path.read_bytes() == before
    assert read(part)["a"][2, 3] == 11


def test_tensors_that_no_kernel_could_read_in_place_are_copied(tmp_path: Path) -> None:
    found = read(inside(tmp_path, STATE, shift=65))
    assert backing(found["a"]) != str(tmp_path / "large")
    assert found["a"].data_ptr() % 4 == 0
    assert backing(found["c"]) == str(tmp_path / "large")


def test_what_is_cast_is_not_mapped(tmp_path: Path) -> None:
    found = read(inside(tmp_path, {"a": STATE["a"]}), torch.float16)
    assert found["a"].dtype is torch.float16
    assert backing(found["a"]) != str(tmp_path / "large")


def test_the_names_come_from_the_header_alone(tmp_path: Path) -> None:
    assert read_embedded_tensor_names(inside(tmp_path, STATE)) == STATE.keys()


def test_slices_count_as_files_of_their_folder(tmp_path: Path) -> None:
    part = inside(tmp_path, STATE)
    (tmp_path / "unet").mkdir()
    name = f"{STEM}.safetensors"
    assert find_weights(tmp_path / "unet", STEM, embedded={name: part}) == (part,)
    assert torch.equal(read_weights((part,))["a"], STATE["a"])


def test_shards_may_be_slices(tmp_path: Path) -> None:
    parts = {}
    for number, key in ((1, "a"), (2, "b")):
        (tmp_path / key).mkdir()
        part = inside(tmp_path / key, {key: STATE[key]})
        parts[f"{STEM}-0000{number}-of-00002.safetensors"] = part
    index = {"weight_map": dict(zip("ab", parts, strict=True))}
    (tmp_path / f"{STEM}.safetensors.index.json").write_text(json.dumps(index))
    files = find_weights(tmp_path, STEM, embedded=parts)
    assert read_weights(files).keys() == {"a", "b"}
    del parts[f"{STEM}-00002-of-00002.safetensors"]
    with pytest.raises(CheckpointError, match="lacks diffusion_pytorch_model-00002-of-00002"):
        find_weights(tmp_path, STEM, embedded=parts)


def header(values: Any, data: bytes = bytes(8)) -> bytes:
    text = json.dumps(values).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "header is longer than the file"),
    "short": (b"abc", "header is longer than the file"),
    "huge header": ((2**63).to_bytes(8, "little") + b"{}", "header is longer than the file"),
    "no json": ((4).to_bytes(8, "little") + b"{{{{", "not a table of tensors"),
    "no table": (header([1]), "not a table of tensors"),
    "deep": ((9000).to_bytes(8, "little") + b"[" * 9000, "not a table of tensors"),
    "no offsets": (header({"a": {"dtype": "F32", "shape": [2]}}), "not a table of tensors"),
    "outside": (header({"a": entry(offsets=(8, 16))}), "overlap or leave gaps"),
    "negative": (header({"a": entry(offsets=(-8, 0))}), "not as long as its shape"),
    "wrong shape": (header({"a": entry(shape=(3,))}), "not as long as its shape"),
    "negative shape": (header({"a": entry(shape=(-1, -2))}), "not as long as its shape"),
    "overlap": (header({"a": entry(), "b": entry()}), "overlap or leave gaps"),
    "left over": (header({"a": entry()}, bytes(9)), "do not fill it"),
    "too short": (header({"a": entry()}, bytes(7)), "do not fill it"),
    "dtype": (header({"a": entry("F6_E2M3")}), "in dtype F6_E2M3, which dpnb does not read"),
}


@pytest.mark.parametrize(("content", "sentence"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_slice_is_said_in_one_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 64 + content + b"y" * 64)
    part = EmbeddedFile(tmp_path / "large", 64, len(content), "unet/a.safetensors")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read(part)
    assert "\n" not in str(caught.value)
    assert "unet/a.safetensors" in str(caught.value)
