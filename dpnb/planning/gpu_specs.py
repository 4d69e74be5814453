"""Data sheets of GPUs.

Rates of 16-bit arithmetic are those of matrix units on dense matrices that add up in 32 bits, as
torch does it. GeForce cards are sold by cores and clock: a core does two operations in a cycle, and
matrix units that add up in 32 bits do four times as much from Turing on, twice as much from Ampere
on (tables of the architectures' whitepapers); cards without them do as much as in float32. A link
is the sum of its lanes in one direction.
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

MATRIX_UNITS = {"20": 4, "30": 2, "40": 2, "50": 2}
"""How much more matrix units do than cores, by the series of a GeForce card."""

CAPABILITIES = {"20": (7, 5), "30": (8, 6), "40": (8, 9), "50": (12, 0)}
"""Likewise the capability of its architecture."""


@dataclass(frozen=True)
class GpuSpecs:
    """Memory and peak rates of a GPU.

    Args:
        memory: bytes.
        bandwidth: of its memory, bytes in a second.
        float32: floating-point operations in a second.
        float16: likewise.
        link: bytes in a second from the host.
        source: where these are from.
        capability: of its architecture (docs.nvidia.com/cuda, "Compute Capabilities").
    """

    memory: int
    bandwidth: float
    float32: float
    float16: float
    link: float
    source: str
    capability: tuple[int, int] | None = None


def _specs(
    gibibytes: int,
    bandwidth: float,
    float32: float,
    float16: float,
    link: float,
    source: str,
    capability: tuple[int, int],
) -> GpuSpecs:
    rates = (bandwidth * GB, float32 * TERA, float16 * TERA)
    return GpuSpecs(gibibytes << 30, *rates, link, source, capability)


def _geforce(
    series: str,
    gibibytes: int,
    bandwidth: float,
    cores: int,
    megahertz: int,
    link: float,
    source: str,
) -> GpuSpecs:
    float32 = 2 * cores * megahertz / 1e6
    float16 = MATRIX_UNITS[series] * float32
    return _specs(gibibytes, bandwidth, float32, float16, link, source, CAPABILITIES[series])


GEFORCES = {
    "RTX 2060": _geforce("20", 6, 336, 1920, 1680, PCIE_3, GEFORCE),
    "RTX 2070": _geforce("20", 8, 448, 2304, 1620, PCIE_3, TURING),
    "RTX 2080 Ti": _geforce("20", 11, 616, 4352, 1545, PCIE_3, TURING),
    "RTX 3050": _geforce("30", 8, 224, 2560, 1777, PCIE_4 / 2, GEFORCE),
    "RTX 3060": _geforce("30", 12, 360, 3584, 1777, PCIE_4, GEFORCE),
    "RTX 3060 Ti": _geforce("30", 8, 448, 4864, 1665, PCIE_4, GEFORCE),
    "RTX 3070": _geforce("30", 8, 448, 5888, 1725, PCIE_4, GA102),
    "RTX 3080": _geforce("30", 10, 760, 8704, 1710, PCIE_4, GA102),
    "RTX 3090": _geforce("30", 24, 936, 10496, 1695, PCIE_4, GA102),
    "RTX 4060": _geforce("40", 8, 272, 3072, 2460, PCIE_4 / 2, GEFORCE),
    "RTX 4060 Ti": _geforce("40", 8, 288, 4352, 2535, PCIE_4 / 2, GEFORCE),
    "RTX 4070": _geforce("40", 12, 504, 5888, 2475, PCIE_4, GEFORCE),
    "RTX 4070 Ti": _geforce("40", 12, 504, 7680, 2610, PCIE_4, GEFORCE),
    "RTX 4080": _geforce("40", 16, 717, 9728, 2505, PCIE_4, ADA),
    "RTX 4090": _geforce("40", 24, 1008, 16384, 2520, PCIE_4, ADA),
    "RTX 5080": _geforce("50", 16, 960, 10752, 2617, PCIE_5, BLACKWELL),
    "RTX 5090": _geforce("50", 32, 1792, 21760, 2407, PCIE_5, BLACKWELL),
}

GPU_SPECS: Mapping[str, GpuSpecs] = {
    **GEFORCES,
    "P100": _specs(16, 732, 9.3, 9.3, PCIE_3, "NVIDIA Tesla P100 PCIe datasheet, 2016", (6, 0)),
    "V100": _specs(16, 900, 14.0, 112.0, PCIE_3, "NVIDIA V100 PCIe datasheet, 2020", (7, 0)),
    "T4": _specs(16, 320, 8.1, 65.0, PCIE_3, "NVIDIA T4 datasheet, 2019", (7, 5)),
    "A10": _specs(24, 600, 31.2, 125.0, PCIE_4, "NVIDIA A10 datasheet, 2021", (8, 6)),
    "L4": _specs(24, 300, 30.3, 121.0, PCIE_4, "NVIDIA L4 datasheet, 2023", (8, 9)),
    "L40S": _specs(48, 864, 91.6, 362.0, PCIE_4, "NVIDIA L40S datasheet, 2023", (8, 9)),
    "RTX A6000": _specs(48, 768, 38.7, 154.8, PCIE_4, "NVIDIA RTX A6000 datasheet, 2021", (8, 6)),
    "A100 40GB": _specs(40, 1555, 19.5, 312.0, PCIE_4, "NVIDIA A100 datasheet, 2021", (8, 0)),
    "A100 80GB": _specs(80, 1935, 19.5, 312.0, PCIE_4, "NVIDIA A100 datasheet, 2021", (8, 0)),
    "H100 PCIe": _specs(80, 2000, 51.0, 756.0, PCIE_5, "NVIDIA H100 datasheet, 2022", (9, 0)),
    "H100 SXM": _specs(80, 3350, 67.0, 989.0, PCIE_5, "NVIDIA H100 datasheet, 2023", (9, 0)),
    "H200": _specs(141, 4800, 67.0, 989.0, PCIE_5, "NVIDIA H200 datasheet, 2024", (9, 0)),
}
"""By the name that people use."""
