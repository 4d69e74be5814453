"""Slices of a card that several programs share, as NVIDIA's MIG names them: `1g.10gb`.

The first number says how many of seven parts of the arithmetic a slice has, the second how many
gigabytes of memory, of which some five in a hundred are kept by the card (NVIDIA Multi-Instance GPU
User Guide, "Supported MIG Profiles": 1g.5gb has 4.75 GiB, 1g.10gb 9.5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DIVIDED = ("A100 40GB", "A100 80GB", "H100 PCIe", "H100 SXM", "H200")
"""The cards whose maker lists slices, of those that are known here."""

PARTS = 7

USABLE = 0.95

SLICE = re.compile(r"(.*?)\s+(?:MIG\s+)?(\d+)g\.(\d+)gb(?:\+me)?", re.IGNORECASE)

SIZES = (1, 2, 3, 4, 7)
"""Parts that a slice can have."""


@dataclass(frozen=True)
class CardSlice:
    """A part of a card.

    Args:
        parts: of seven of its arithmetic.
        gigabytes: of its memory.
    """

    parts: int
    gigabytes: int

    @property
    def name(self) -> str:
        """As NVIDIA writes it."""
        return f"{self.parts}g.{self.gigabytes}gb"

    @property
    def memory(self) -> int:
        """Bytes that programs can have."""
        return int(self.gigabytes * USABLE * (1 << 30))


def split_slice(name: str) -> tuple[str, CardSlice | None]:
    """A card's name, and the slice that is meant; `None` for the whole card.

    Args:
        name: such as `"A100 80GB 2g.20gb"`.

    Raises:
        ValueError: there is no slice of so many parts.
    """
    found = SLICE.fullmatch(name.strip())
    if found is None:
        return name, None
    part = CardSlice(int(found[2]), int(found[3]))
    if part.parts not in SIZES or not part.gigabytes:
        raise ValueError(
            f"{name!r} is no slice of a card; one has {', '.join(map(str, SIZES))} parts of seven "
            'and some gigabytes, as in "H100 PCIe 1g.10gb".'
        )
    return found[1], part
