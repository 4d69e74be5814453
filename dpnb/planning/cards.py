"""What makers say of their cards.

Rates of 16-bit arithmetic are those of matrix units on dense matrices that add up in 32 bits, as
torch does it; where a maker gives the rate with 16-bit sums or with sparsity alone, GeForce cards
of the generations from Turing to Blackwell do half of it with 32-bit sums. A link is the sum of its
lanes in one direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GB, TERA = 1e9, 1e12

PCIE_3 = 15.75 * GB
"""Sixteen lanes (PCI-SIG, PCI Express Base Specification 3.0: 8 GT/s, 128b/130b)."""

PCIE_4, PCIE_5 = 2 * PCIE_3, 4 * PCIE_3

GA102 = "NVIDIA Ampere GA102 GPU Architecture, whitepaper V2.1, 2021"
ADA = "NVIDIA Ada GPU Architecture, whitepaper V2.02, 2023"
TURING = "NVIDIA Turing GPU Architecture, whitepaper WP-09183-001, 2018"
BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture, whitepaper V1.1, 2025"
GEFORCE = "NVIDIA, Compare GeForce Graphics Cards, nvidia.com/geforce/graphics-cards/compare"


@dataclass(frozen=True)
class Card:
    """Peak rates of a card.

    Args:
        memory: bytes.
        bandwidth: of its memory, bytes in a second.
        float32: floating-point operations in a second.
        float16: likewise.
        link: bytes in a second from the host.
        source: where these are from.
    """

    memory: int
    bandwidth: float
    float32: float
    float16: float
    link: float
    source: str


def _card(
    gibibytes: int, bandwidth: float, float32: float, float16: float, link: float, source: str
) -> Card:
    return Card(gibibytes << 30, bandwidth * GB, float32 * TERA, float16 * TERA, link, source)


CARDS: Mapping[str, Card] = {
    "RTX 2060": _card(6, 336, 6.5, 25.8, PCIE_3, GEFORCE),
    "RTX 2070": _card(8, 448, 7.5, 29.9, PCIE_3, TURING),
    "RTX 2080 Ti": _card(11, 616, 13.4, 53.8, PCIE_3, TURING),
    "RTX 3050": _card(8, 224, 9.1, 18.2, PCIE_4 / 2, GEFORCE),
    "RTX 3060": _card(12, 360, 12.7, 25.5, PCIE_4, GEFORCE),
    "RTX 3060 Ti": _card(8, 448, 16.2, 32.4, PCIE_4, GEFORCE),
    "RTX 3070": _card(8, 448, 20.3, 40.6, PCIE_4, GA102),
    "RTX 3080": _card(10, 760, 29.8, 59.5, PCIE_4, GA102),
    "RTX 3090": _card(24, 936, 35.6, 71.0, PCIE_4, GA102),
    "RTX 4060": _card(8, 272, 15.1, 30.2, PCIE_4 / 2, GEFORCE),
    "RTX 4060 Ti": _card(8, 288, 22.1, 44.1, PCIE_4 / 2, GEFORCE),
    "RTX 4070": _card(12, 504, 29.1, 58.3, PCIE_4, GEFORCE),
    "RTX 4070 Ti": _card(12, 504, 40.1, 80.2, PCIE_4, GEFORCE),
    "RTX 4080": _card(16, 717, 48.7, 97.5, PCIE_4, ADA),
    "RTX 4090": _card(24, 1008, 82.6, 165.2, PCIE_4, ADA),
    "RTX 5080": _card(16, 960, 56.3, 112.6, PCIE_5, BLACKWELL),
    "RTX 5090": _card(32, 1792, 104.8, 209.5, PCIE_5, BLACKWELL),
    "P100": _card(16, 732, 9.3, 18.7, PCIE_3, "NVIDIA Tesla P100 PCIe datasheet, 2016"),
    "V100": _card(16, 900, 14.0, 112.0, PCIE_3, "NVIDIA V100 PCIe datasheet, 2020"),
    "T4": _card(16, 320, 8.1, 65.0, PCIE_3, "NVIDIA T4 datasheet, 2019"),
    "A10": _card(24, 600, 31.2, 125.0, PCIE_4, "NVIDIA A10 datasheet, 2021"),
    "L4": _card(24, 300, 30.3, 121.0, PCIE_4, "NVIDIA L4 datasheet, 2023"),
    "L40S": _card(48, 864, 91.6, 362.0, PCIE_4, "NVIDIA L40S datasheet, 2023"),
    "RTX A6000": _card(48, 768, 38.7, 154.8, PCIE_4, "NVIDIA RTX A6000 datasheet, 2021"),
    "A100 40GB": _card(40, 1555, 19.5, 312.0, PCIE_4, "NVIDIA A100 datasheet, 2021"),
    "A100 80GB": _card(80, 1935, 19.5, 312.0, PCIE_4, "NVIDIA A100 datasheet, 2021"),
    "H100 PCIe": _card(80, 2000, 51.0, 756.0, PCIE_5, "NVIDIA H100 datasheet, 2022"),
    "H100 SXM": _card(80, 3350, 67.0, 989.0, PCIE_5, "NVIDIA H100 datasheet, 2023"),
    "H200": _card(141, 4800, 67.0, 989.0, PCIE_5, "NVIDIA H200 datasheet, 2024"),
}
"""By the name that people use."""
