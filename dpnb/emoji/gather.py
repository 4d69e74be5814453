"""Write the table of concepts anew: `python -m dpnb.emoji.gather --annotations en.xml`.

The first sections of `concepts.txt` are made by hand and stay. The last one lists the other emoji
that the font draws, with those keywords of the Unicode CLDR that mean no second picture.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from dpnb.atomic import write_text
from dpnb.emoji.captions import OPENINGS, SIZE_WORDS
from dpnb.emoji.concepts import FILE, Concept, parse_concepts
from dpnb.emoji.grammar import word_list
from dpnb.emoji.pictures import FONT, characters, find_drawn
from dpnb.emoji.scenes import COLOURS

RARE = "[1]"
MOST_WORDS = 3
SKIN_TONES = range(0x1F3FB, 0x1F400)
REGIONAL_LETTERS = range(0x1F1E6, 0x1F200)
TAG_END, JOINER = "\U000e007f", "\u200d"
TYPED = re.compile(r"[a-z][a-z' -]{2,17}")
"""What a keyword looks like that people would type."""


def main() -> None:
    """Parse the command line and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m dpnb.emoji.gather")
    parser.add_argument("--annotations", type=Path, required=True, help="common/annotations/en.xml")
    options = parser.parse_args()
    by_hand = FILE.read_text(encoding="utf-8").partition(f"{RARE}\n")[0]
    write_text(FILE, f"{by_hand}{RARE}\n" + "\n".join(gather(by_hand, options.annotations)) + "\n")


def gather(by_hand: str, annotations: Path) -> list[str]:
    """The table's last section: a line for every picture that `by_hand` lacks."""
    known = parse_concepts(by_hand.splitlines())
    taken = {name for concept in known for name in (concept.name, *concept.others)}
    names = find_drawn([name for name in candidates() if name not in taken], FONT)
    given = {concept.name: concept.others for concept in parse_concepts(word_lines("words"))}
    rare = [Concept(name, given.get(name, ())) for name in names]
    words = choose_words([*known, *rare], read_keywords(annotations))
    lines = {each.name: [*each.others, *words[each.name]][:MOST_WORDS] for each in rare}
    return [f"{name}: {', '.join(lines[name])}".rstrip(": ") for name in names]


def candidates() -> list[str]:
    """Names of emoji that are worth a word: no flags, letters, skin tones, twins of others."""
    twins = re.compile("|".join(rf"(?:{line})" for line in word_lines("left out")))
    kept_persons = set(word_lines("joined"))
    return [
        name
        for name, character in characters().items()
        if not any(ord(sign) in SKIN_TONES or ord(sign) in REGIONAL_LETTERS for sign in character)
        and TAG_END not in character
        and (JOINER not in character or name in kept_persons)
        and not twins.fullmatch(name)
    ]


def word_lines(section: str) -> list[str]:
    """The lines of a section of `gather.txt`."""
    text = (Path(__file__).parent / "gather.txt").read_text(encoding="utf-8")
    part = text.split(f"[{section}]\n")[1].split("\n[")[0]
    return [line for line in part.splitlines() if line and not line.startswith("#")]


def read_keywords(annotations: Path) -> dict[str, tuple[str, ...]]:
    """Emoji's name → its keywords in an annotations file of the CLDR."""
    found = {}
    for entry in ElementTree.parse(annotations).iter("annotation"):
        if entry.get("type") is None and entry.text:
            keywords = tuple(word.strip().lower() for word in entry.text.split("|"))
            found[str(entry.get("cp")).replace("\ufe0f", "")] = keywords
    return {
        name: found.get(character.replace("\ufe0f", ""), ())
        for name, character in characters().items()
    }


def choose_words(
    concepts: Iterable[Concept], keywords: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    """Concept's name → at most three keywords that belong to it alone.

    A word counts as another's where it is a name, a word by hand, a colour, a size or a filler.
    """
    concepts = list(concepts)
    owners = Counter(word for concept in concepts for word in set(keywords[concept.name]))
    taken = {name.lower() for concept in concepts for name in (concept.name, *concept.others)}
    taken |= {*COLOURS, "white", *word_list("fillers"), *word_lines("vague"), *OPENINGS}
    taken |= {word for words in SIZE_WORDS.values() for word in words}
    return {
        concept.name: [
            word
            for word in keywords[concept.name]
            if owners[word] == 1 and word not in taken and TYPED.fullmatch(word)
        ][:MOST_WORDS]
        for concept in concepts
    }


if __name__ == "__main__":
    main()
