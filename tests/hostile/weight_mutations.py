"""Weight files and archives, broken."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tests.hostile.text_mutations import mutated

DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "I8", "U8", "BOOL", "C64", "F4", "x", "")
SIZES: tuple[Any, ...] = (0, -1, 1, 2**31, 2**62, 2**70, 10**30, 1.5, "1", None, [], True)


def mutate_safetensors(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """A safetensors file broken in one way, and the name of that way."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: _packed(mutated(header, chance)[1], data),
        lambda: _packed(_edited(header, chance), data),
        lambda: _packed(_edited(header, chance), data),
        lambda: _cast(header, data, chance),
        lambda: _packed(header, chance.choice((b"\xff", b"\x7f", b"\x00")) * len(data)),
        lambda: content[: chance.randrange(len(content))],
        lambda: content + b"\x00" * chance.choice((1, 8, 4096)),
        lambda: chance.choice(SIZE_BYTES) + content[8:],
        lambda: _flipped(content, chance),
        lambda: _with_metadata(header, data, chance),
    )
    names = (
        "header", "entry", "entry", "cast", "filled", "cut", "longer", "length", "flipped", "notes",
    )  # fmt: skip
    way = chance.randrange(len(ways))
    return names[way], ways[way]()


SIZE_BYTES = tuple(struct.pack("<Q", n) for n in (0, 1, 2**63, 2**64 - 1, 99_999_999, 2**31))


def mutate_bin(content: bytes, chance: random.Random, canary: str) -> tuple[str, bytes]:
    """A file of `torch.save` broken in one way, and the name of that way.

    Args:
        content: the good file.
        chance: of choices.
        canary: a file that code in a pickle would make.
    """
    way = chance.choice(("cut", "flipped", "other table", "other table", *STATES))
    if way == "cut":
        return way, content[: chance.randrange(len(content))]
    if way == "flipped":
        return way, _flipped(content, chance)
    state = torch.load(io.BytesIO(content), weights_only=True)
    name = chance.choice(list(state))
    tensor: torch.Tensor = state[name]
    changed: Any = state
    if way == "other table":
        keyed: tuple[Any, ...] = ({"state_dict": state}, {}, {**state, 5: tensor})
        tables = ([tensor], tensor, 5, None, (state,), *keyed)
        changed = chance.choice(tables)
    elif way == "code":
        changed = {**state, name: _Planted(canary)}
    elif way != "legacy":
        changed = {**state, name: STATES[way](tensor, chance)}
    file = io.BytesIO()
    is_new = way not in ("legacy", "code") or chance.random() < 0.5
    torch.save(changed, file, _use_new_zipfile_serialization=is_new)
    return way, file.getvalue()


STATES: Mapping[str, Callable[[torch.Tensor, random.Random], Any]] = {
    "other value": lambda tensor, chance: chance.choice((5, "x", None, [tensor], {})),
    "integers": lambda tensor, chance: tensor.to(chance.choice((torch.int8, torch.int64))),
    "huge view": lambda tensor, chance: torch.zeros(1).expand(2**20, 2**20),
    "sparse": lambda tensor, chance: torch.sparse_coo_tensor(
        torch.zeros((tensor.ndim, 0), dtype=torch.long),
        torch.zeros(0),
        tensor.shape,
        check_invariants=True,
    ),
    "meta": lambda tensor, chance: tensor.to("meta"),
    "complex": lambda tensor, chance: tensor.to(torch.complex64),
    "code": lambda tensor, chance: tensor,
    "legacy": lambda tensor, chance: tensor,
}
"""What one tensor becomes, by the name of the way; two ways concern how the file is written."""


def mutate_dduf(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """A DDUF file broken in one way, and the name of that way."""
    way = chance.choice(("cut", "flipped", "member", "member", "name", "longer", "directory"))
    if way == "cut":
        return way, content[: chance.randrange(len(content))]
    if way == "flipped":
        return way, _flipped(content, chance)
    if way == "longer":
        return way, content + bytes(chance.randrange(1, 4096))
    if way == "directory":
        at = content.rfind(b"PK\x01\x02", 0, chance.randrange(len(content) // 2, len(content)))
        return way, content[:at] + _flipped(content[at : at + 200], chance) + content[at + 200 :]
    return way, _rezipped(content, chance, renames=way == "name")


def _rezipped(content: bytes, chance: random.Random, *, renames: bool) -> bytes:
    names = (
        "../x",
        "/etc/x",
        "a/b/c",
        "os.py",
        "unet/x.py",
        "x\x00y",
        "model_index.json",
        "vae//x",
    )
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as former, zipfile.ZipFile(file, "w") as made:
        chosen = chance.choice(former.namelist())
        for name in former.namelist():
            inner = former.read(name)
            if name == chosen and not renames:
                change = mutate_safetensors if name.endswith(".safetensors") else mutated
                inner = change(inner, chance)[1]
            is_renamed = renames and name == chosen
            made.writestr(chance.choice(names) if is_renamed else name, inner)
    return file.getvalue()


def _packed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content or b"x")
    for _ in range(chance.choice((1, 10, 1000))):
        end = chance.choice((len(changed), min(200, len(changed))))
        changed[chance.randrange(end)] = chance.randrange(256)
    return bytes(changed)


def _edited(header: bytes, chance: random.Random) -> bytes:
    """The header with the entry of one tensor changed."""
    table = json.loads(header)
    name = chance.choice([key for key in table if key != "__metadata__"])
    entry = table[name]
    way = chance.choice(("dtype", "size", "shape", "offset", "name", "gone", "alias"))
    if way == "dtype":
        entry["dtype"] = chance.choice((*DTYPES, 5, None))
    elif way == "size" and entry["shape"]:
        entry["shape"][chance.randrange(len(entry["shape"]))] = chance.choice(SIZES)
    elif way == "shape":
        entry["shape"] = chance.choice(
            ([], entry["shape"][::-1], [1, *entry["shape"]], [2**35, 2**35, 0], None, "x")
        )
    elif way == "offset":
        entry["data_offsets"][chance.randrange(2)] = chance.choice(SIZES)
    elif way == "name":
        table[chance.choice(("", "\x00", "x.y", "a" * 3000, "../x", "__class__"))] = table.pop(name)
    elif way == "alias":
        table[f"{name}.again"] = entry
    else:
        del table[name]
    return json.dumps(table).encode("utf-8", "surrogatepass")


def _cast(header: bytes, data: bytes, chance: random.Random) -> bytes:
    """The same sizes in another dtype of the same width, or all tensors in a narrower one."""
    table = json.loads(header)
    dtype = chance.choice(("I32", "U32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"))
    width = {"I32": 4, "U32": 4, "F16": 2, "BF16": 2}.get(dtype, 1)
    is_whole = chance.random() < 0.3
    names = [name for name in table if name != "__metadata__"]
    chosen = names if is_whole else [chance.choice(names)]
    blobs, at = [], 0
    for name in sorted(names, key=lambda name: table[name]["data_offsets"]):
        entry = table[name]
        first, last = entry["data_offsets"]
        blob = data[first:last]
        if name in chosen and entry["dtype"] == "F32":
            entry["dtype"], blob = dtype, blob[: len(blob) // 4 * width]
            blob = bytes(byte & 1 for byte in blob) if dtype == "BOOL" else blob
        entry["data_offsets"] = [at, at + len(blob)]
        blobs.append(blob)
        at += len(blob)
    return _packed(json.dumps(table).encode(), b"".join(blobs))


def _with_metadata(header: bytes, data: bytes, chance: random.Random) -> bytes:
    table = json.loads(header)
    notes: tuple[Any, ...] = (
        "{not json", "null", "[]", "5", '{"unet.r": "x"}', '{"unet.lora_alpha": null}', "[" * 9999,
        '{"unet.lora_alpha": "x"}', '{"unet.r": 0, "unet.lora_alpha": 1e400}', "1" * 5000,
        '{"unet.lora_alpha": 4, "unet.alpha_pattern": {"(a|a?)+$": 4, "(.*)*(.*)*x": 1}}',
        '{"unet.alpha_pattern": 5, "unet.lora_alpha": 1}', '{"unet.lora_alpha": NaN}', 5, None,
        '{"unet.lora_alpha": 1, "unet.alpha_pattern": {"(": 1}}',
    )  # fmt: skip
    table["__metadata__"] = {"format": "pt", "lora_adapter_metadata": chance.choice(notes)}
    return _packed(json.dumps(table).encode(), data)


class _Planted:
    """Pickled, it is a call that makes a file."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return open, (self.canary, "w")
