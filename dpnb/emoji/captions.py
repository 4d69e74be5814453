"""What a picture shows, and the words people would use for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from dpnb.emoji.concepts import Concept

COLOURS = {
    "red": 3,
    "orange": 2,
    "yellow": 3,
    "green": 3,
    "blue": 3,
    "purple": 2,
    "pink": 2,
    "brown": 1,
    "black": 2,
    "grey": 1,
}
BACKGROUNDS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "grey", "black")
SIZE_WORDS = {"small": ("small", "tiny", "little"), "big": ("big", "large", "giant", "huge")}
OPENINGS = ("a picture of", "a drawing of", "an icon of", "an emoji of", "a photo of")
PLURALS = frozenset({"grapes", "glasses", "sunglasses", "jeans", "gloves", "socks", "scissors"})
WORDS = Path(__file__).parent / "words.txt"
SILENT_H = ("hour", "honest", "honour")
CONSONANT_SOUNDS = ("uni", "uku", "euro", "one", "ufo", "use")


@dataclass(frozen=True)
class Look:
    """How a concept is shown.

    Attributes:
        colour: the paint it is tinted with; none keeps its own colours.
        background: what it lies on; white is not mentioned as a rule.
        size: "small", "big", or nothing.
    """

    colour: str | None = None
    background: str = "white"
    size: str = ""


@dataclass(frozen=True)
class Habits:
    """How often a picture departs from the plain icon, and its caption from the plain name.

    Attributes:
        colour: tinted; shapes and hearts are tinted twice as often.
        background: on a coloured background.
        size: small or big.
        other_name: called by another word.
        filler: an adjective that changes nothing.
        stranger: of these adjectives, how many are words that name no concept at all, so that no
            word stays untrained.
        opening: "a picture of" and the like.
        article: "a" or "an" in front.
        empty: no caption at all, for classifier-free guidance.
    """

    colour: float = 0.22
    background: float = 0.2
    size: float = 0.0
    other_name: float = 0.3
    filler: float = 0.1
    stranger: float = 0.35
    opening: float = 0.04
    article: float = 0.35
    empty: float = 0.08


def choose_look(concept: Concept, habits: Habits, rng: np.random.Generator) -> Look:
    """A look for `concept`; paint and background differ."""
    colour = None
    likelihood = habits.colour * (2 if is_shape(concept) else 1)
    if rng.random() < likelihood:
        shares = np.array(list(COLOURS.values()), dtype=float)
        colour = str(rng.choice(list(COLOURS), p=shares / shares.sum()))
    background = "white"
    if rng.random() < habits.background:
        background = str(rng.choice([name for name in BACKGROUNDS if name != colour]))
    size = str(rng.choice(["small", "big"])) if rng.random() < habits.size else ""
    return Look(colour, background, size)


@cache
def word_list(section: str) -> tuple[str, ...]:
    """The words in a section of `words.txt`: "fillers" or "uncountable"."""
    parts = WORDS.read_text(encoding="utf-8").split(f"[{section}]\n")[1].split("\n\n")
    return tuple(parts[0].split())


def words_of(texts: Iterable[str]) -> set[str]:
    """The words of `texts` in small letters; hyphens stay, other signs and digits do not count."""
    words = {word.lower().strip(".,:!’'") for text in texts for word in text.split()}
    return {word for word in words if word.replace("-", "").isalpha() and len(word) > 2}


def is_shape(concept: Concept) -> bool:
    """Whether its colour is nearly all there is to see of it."""
    shapes = {"heart", "circle", "square", "triangle", "diamond", "star", "balloon", "book"}
    return not shapes.isdisjoint(concept.bare_names)


def write_caption(
    concept: Concept,
    look: Look,
    habits: Habits,
    rng: np.random.Generator,
    fillers: Sequence[str],
) -> str:
    """A caption for `concept` as `look` shows it, or an empty one.

    Args:
        concept: what is shown.
        look: how.
        habits: how often the caption is more than the plain name.
        rng: decides.
        fillers: words that may stand before the name and change nothing.
    """
    if rng.random() < habits.empty:
        return ""
    names = (concept.name, *concept.others) if look.colour is None else concept.bare_names
    use_other = len(names) > 1 and rng.random() < habits.other_name
    name = str(rng.choice(names[1:])) if use_other else names[0]
    filler = str(rng.choice(fillers)) if rng.random() < habits.filler else ""
    phrase = " ".join(word for word in (look.size, filler, look.colour, name) if word)
    if rng.random() < habits.opening:
        phrase = f"{rng.choice(OPENINGS)} {with_article(phrase)}"
    elif rng.random() < habits.article:
        phrase = with_article(phrase)
    is_plain = look.background == "white"
    if is_plain and rng.random() > 0.05:
        return phrase
    return f"{phrase} on {with_article(look.background + ' background')}"


def with_article(phrase: str) -> str:
    """`phrase` with "a" or "an", or unchanged where English puts neither.

    Decided by rules and short lists: the last word of the part before "of", "with" or "on" is the
    noun.
    """
    noun = phrase
    for preposition in (" of ", " with ", " on ", " behind "):
        noun = noun.split(preposition)[0]
    head = noun.split()[-1].lower()
    is_plural = head in PLURALS or (head.endswith("s") and not head.endswith(("ss", "us", "is")))
    if is_plural or head in word_list("uncountable") or phrase[0].isupper():
        return phrase
    first = phrase.lower()
    is_vowel = first.startswith(SILENT_H) or (
        first[0] in "aeiou" and not first.startswith(CONSONANT_SOUNDS)
    )
    return f"{'an' if is_vowel else 'a'} {phrase}"
