"""The parts of a first look at a GPU, the most important first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part, which runs in a process of its own.

    Args:
        name: for the command line.
        title: what it is about.
        limit: seconds after which it is stopped.
        least: seconds with less than which it is not begun, and which are kept for it.
        call: its module and function.
        dry: as `limit`, in a dry run.
        is_beside: whether it needs no device, and runs beside the parts after it.
        options: further words for it.
    """

    name: str
    title: str
    limit: float
    least: float
    call: str
    dry: float = 60
    is_beside: bool = False
    options: tuple[tuple[str, str], ...] = ()


PARTS = (
    Part("facts", "The card, and what libraries take of it", 45, 20, "tests.gpu.facts:measure"),
    Part(
        "predictions",
        "What is predicted, on the CPU, beside other parts",
        240,
        10,
        "tests.gpu.predictions:measure",
        is_beside=True,
    ),
    Part(
        "tests",
        "Tests that need a GPU: each strategy alone, and all others but pairs",
        150,
        40,
        "tests.gpu.suite:measure",
        options=(("tests", "fast"),),
    ),
    Part(
        "sd15",
        "Strategies at the shape of Stable Diffusion 1.5",
        90,
        25,
        "tests.gpu.strategies:measure",
        options=(("shape", "sd15"),),
    ),
    Part(
        "sdxl",
        "Strategies at the shape of SDXL",
        110,
        40,
        "tests.gpu.strategies:measure",
        options=(("shape", "sdxl"),),
    ),
    Part(
        "streaming",
        "Weights that stream, beside the floor and beside diffusers",
        80,
        35,
        "tests.gpu.streaming:measure",
    ),
    Part("speed", "Precision, and steps that reuse others", 45, 20, "tests.gpu.speed:measure"),
    Part("compiled", "Blocks that are compiled", 80, 35, "tests.gpu.speed:measure_blocks"),
    Part("panel", "What a dashboard costs", 40, 15, "tests.gpu.panel:measure"),
    Part("emoji", "The model inside", 45, 15, "tests.gpu.emoji:measure"),
    Part("hazards", "Waits, races, and memory that runs out", 45, 15, "tests.gpu.hazards:measure"),
    Part("whole", "torch.compile of a whole UNet", 100, 45, "tests.gpu.speed:measure_whole"),
    Part(
        "pairs",
        "Tests that need a GPU: pairs of strategies, as many as time allows",
        400,
        30,
        "tests.gpu.suite:measure",
        options=(("tests", "pairs"),),
    ),
)


def choose_parts(names: list[str]) -> tuple[Part, ...]:
    """The parts of these names in their order, all of them where there are none.

    Raises:
        ValueError: there is no such part.
    """
    known = {part.name: part for part in PARTS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{', '.join(unknown)}: no such part; the parts are {', '.join(known)}.")
    return tuple(part for part in PARTS if not names or part.name in names)
