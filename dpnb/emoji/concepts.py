"""What the model can draw: CLDR names, other words for them, and how often each is seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "concepts.txt"

HEADS = frozenset(
    {"red", "golden", "yellow", "green", "pink", "blue", "orange", "purple", "brown", "black"}
    | {"grey", "white", "large"}
)
"""Words that describe a name's natural look: left out when another colour is asked for."""


@dataclass(frozen=True)
class Concept:
    """One picture of the font.

    Attributes:
        name: the English CLDR short name, as the package `emoji` spells it, without underscores.
        others: other words for it.
        weight: how often it is drawn, relative to the rarest.
    """

    name: str
    others: tuple[str, ...] = ()
    weight: float = 1.0

    @property
    def bare_names(self) -> tuple[str, ...]:
        """Every name, without the words that say its natural look: "apple" for "red apple"."""
        return tuple(dict.fromkeys(drop_natural_look(name) for name in (self.name, *self.others)))


def drop_natural_look(name: str) -> str:
    """`name` without leading words that describe its natural look."""
    words = name.split()
    while len(words) > 1 and words[0] in HEADS:
        words = words[1:]
    return " ".join(words)


def parse_concepts(lines: Sequence[str]) -> tuple[Concept, ...]:
    """Concepts of a table: `[weight]` opens a section, `name: other, other` is a concept.

    Raises:
        ValueError: a name stands there twice.
    """
    concepts: dict[str, Concept] = {}
    weight = 1.0
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            weight = float(line.strip("[] \n"))
            continue
        name, _, others = (part.strip() for part in line.partition(":"))
        if name in concepts:
            raise ValueError(f"{name!r} stands twice in the table of concepts; keep one.")
        words = tuple(other.strip() for other in others.split(",") if other.strip())
        concepts[name] = Concept(name, words, weight)
    return tuple(concepts.values())


def load_concepts() -> tuple[Concept, ...]:
    """The concepts of the package's own table."""
    return parse_concepts(FILE.read_text(encoding="utf-8").splitlines())
