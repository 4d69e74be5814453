"""Names that layers have in other people's code, for every layer of a network: tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

STABILITY: tuple[tuple[str, str], ...] = (
    (r"resnets\.\d+\.norm1", "in_layers.0"),
    (r"resnets\.\d+\.conv1", "in_layers.2"),
    (r"resnets\.\d+\.time_emb_proj", "emb_layers.1"),
    (r"resnets\.\d+\.norm2", "out_layers.0"),
    (r"resnets\.\d+\.conv2", "out_layers.3"),
    (r"resnets\.\d+\.conv_shortcut", "skip_connection"),
)
"""The parts of a residual block as Stability's code calls them."""

OUTER: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)(?:\.(.+))?")
_SAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)(?:\.(.+))?")


def underscored(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What kohya's scripts call the layers `names` of a network, and which layers these are."""
    own = list(names)
    found: dict[str, tuple[str, ...]] = {name.replace(".", "_"): (name,) for name in own}
    for name, theirs in _stability(own):
        found.setdefault(theirs.replace(".", "_"), (name,))
    return found


def _stability(names: list[str]) -> Iterator[tuple[str, str]]:
    """The layers of a UNet, and what Stability's code calls them."""
    blocks = [match for name in names if (match := _BLOCK.match(name)) and match[3] == "resnets"]
    if not blocks:
        return
    per_block = {
        side: 1 + max((int(m[4]) for m in blocks if m[1] == side), default=0)
        for side in ("down", "up")
    }
    attending = {(m[1], m[2]) for n in names if (m := _BLOCK.match(n)) and m[3] == "attentions"}
    for name in names:
        if (theirs := _name(name, per_block, attending)) is not None:
            yield name, theirs


def _name(name: str, per_block: Mapping[str, int], attending: set[tuple[str, str]]) -> str | None:
    if name in OUTER:
        return OUTER[name]
    if (match := _BLOCK.fullmatch(name)) is not None:
        side, block, kind, index, _ = match.groups()
        if side == "down":
            place = 1 + int(block) * (per_block["down"] + 1) + int(index)
        else:
            place = int(block) * per_block["up"] + int(index)
        outer = "input_blocks" if side == "down" else "output_blocks"
        return f"{outer}.{place}.{int(kind == 'attentions')}{_inner(name, match[5])}"
    if (match := _SAMPLER.fullmatch(name)) is not None:
        side, block = match.groups()
        if side == "down":
            return f"input_blocks.{(int(block) + 1) * (per_block['down'] + 1)}.0.op"
        place = (int(block) + 1) * per_block["up"] - 1
        return f"output_blocks.{place}.{1 + ((side, block) in attending)}.conv"
    if (match := _MIDDLE.fullmatch(name)) is not None:
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}{_inner(name, match[3])}"
    return None


def _inner(name: str, rest: str | None) -> str:
    for pattern, theirs in STABILITY:
        if re.search(rf"{pattern}$", name):
            return f".{theirs}"
    return f".{rest}" if rest else ""
