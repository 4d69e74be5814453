"""The words that people would use for a scene."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dpnb.emoji.grammar import make_plural, may_be_counted, with_article
from dpnb.emoji.scenes import Generator, Place, Scene, Size, Thing

OPENINGS = ("a picture of", "a drawing of", "an icon of", "an emoji of", "a photo of")
SIZE_WORDS = {
    Size.ANY: ("",),
    Size.SMALL: ("small", "small", "tiny", "little"),
    Size.BIG: ("big", "big", "large", "huge", "giant"),
}
LINKS = ("and", "and", "and", "next to", "beside", "left of", "to the left of")
PLACE_WORDS = {
    Place.LEFT: "on the left",
    Place.RIGHT: "on the right",
    Place.TOP: "at the top",
    Place.BOTTOM: "at the bottom",
}
NUMBERS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Wording:
    """How often a caption departs from the plain name.

    Attributes:
        other_name: called by another word.
        filler: an adjective that changes nothing.
        stranger: of these adjectives, how many are words that name no concept at all, so that no
            word stays untrained.
        opening: "a picture of" and the like.
        article: "a" or "an" in front of a single thing; of two, twice as often.
        digit: "2" for "two".
        white: a white background is mentioned.
        empty: no caption at all, for classifier-free guidance.
    """

    other_name: float = 0.35
    filler: float = 0.1
    stranger: float = 0.3
    opening: float = 0.04
    article: float = 0.45
    digit: float = 0.15
    white: float = 0.05
    empty: float = 0.09


@dataclass(frozen=True)
class Writer:
    """Writes captions.

    Attributes:
        wording: how often more than the plain name.
        fillers: words that may stand before a name and change nothing.
        names: what a filler must not make of a name: "old" of "key".
    """

    wording: Wording
    fillers: Sequence[str] = ()
    strangers: Sequence[str] = ()
    names: frozenset[str] = frozenset()

    def write(self, scene: Scene, rng: Generator) -> str:
        """A caption for `scene`, or an empty one."""
        if rng.random() < self.wording.empty:
            return ""
        if len(scene.things) > 1:
            phrase = self._write_pair(scene, rng)
        elif scene.count > 1:
            phrase = self._write_several(scene, rng)
        else:
            phrase = self._write_single(scene, rng)
        is_plain = scene.background == "white" and rng.random() >= self.wording.white
        if is_plain:
            return phrase
        joint = "of" if scene.place is not Place.ANYWHERE else "on"
        return f"{phrase} {joint} {with_article(scene.background + ' background')}"

    def _write_single(self, scene: Scene, rng: Generator) -> str:
        size = str(rng.choice(SIZE_WORDS[scene.size]))
        name = self._choose_name(scene.things[0], rng)
        if size:
            name = name.removeprefix("large ")
        phrase = self._describe(scene.things[0], name, size, rng)
        if rng.random() < self.wording.opening:
            phrase = f"{rng.choice(OPENINGS)} {with_article(phrase)}"
        elif scene.place is not Place.ANYWHERE or rng.random() < self.wording.article:
            phrase = with_article(phrase)
        return " ".join(word for word in (phrase, PLACE_WORDS.get(scene.place)) if word)

    def _write_pair(self, scene: Scene, rng: Generator) -> str:
        first, second = (
            self._describe(thing, self._choose_name(thing, rng), "", rng) for thing in scene.things
        )
        if rng.random() < 2 * self.wording.article:
            first, second = with_article(first), with_article(second)
        return f"{first} {rng.choice(LINKS)} {second}"

    def _write_several(self, scene: Scene, rng: Generator) -> str:
        thing = scene.things[0]
        name = make_plural(self._choose_name(thing, rng, counted=True))
        is_digit = rng.random() < self.wording.digit
        number = str(scene.count) if is_digit else NUMBERS[scene.count]
        return f"{number} {self._describe(thing, name, '', rng)}"

    def _choose_name(self, thing: Thing, rng: Generator, *, counted: bool = False) -> str:
        """A name of `thing`; without its natural look, where a colour is asked for."""
        concept = thing.concept
        names = (concept.name, *concept.others) if thing.colour is None else concept.bare_names
        others = [name for name in names[1:] if may_be_counted(name) or not counted]
        is_other = bool(others) and rng.random() < self.wording.other_name
        return (str(rng.choice(others)) if is_other else names[0]).replace("’", "'")

    def _describe(self, thing: Thing, name: str, size: str, rng: Generator) -> str:
        """Size, an idle adjective, colour and name, as far as they are there."""
        filler = ""
        if rng.random() < self.wording.filler:
            is_strange = rng.random() < self.wording.stranger and bool(self.strangers)
            filler = str(rng.choice(self.strangers if is_strange else self.fillers))
        if f"{filler} {name}" in self.names:
            filler = ""
        return " ".join(word for word in (size, filler, thing.colour, name) if word)


def words_of(texts: Iterable[str]) -> set[str]:
    """The words of `texts` in small letters; hyphens stay, other signs and digits do not count."""
    words = {word.lower().strip(".,:!’'") for text in texts for word in text.split()}
    return {word for word in words if word.replace("-", "").isalpha() and len(word) > 2}
