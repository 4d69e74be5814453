"""English as far as captions need it: articles and plurals, by rules and short lists."""

from functools import cache
from pathlib import Path

WORDS = Path(__file__).parent / "words.txt"
PREPOSITIONS = (
    *(" of ", " with ", " without ", " on ", " in ", " behind ", " at ", " from ", " for "),
    *(" showing ", " tilted ", " facing ", " wearing ", " but "),
)
PLURALS = frozenset(
    {"people", "palms", "feet", "teeth", "children", "mice", "geese", "jeans", "men", "women"}
)
PROPER = (
    "Santa ",
    "Mrs. ",
    "Statue of",
    "Tokyo ",
    "saturn",
    "earth",
    "father christmas",
    "planet e",
)
SILENT = ("hour", "honest", "honour", "x-ray")
CONSONANT_SOUNDS = ("uni", "uku", "euro", "one", "ufo", "use")
DOERS = frozenset({"person", "people", "man", "woman", "face", "index", "hand"})
"""Nouns that a name begins with where a deed follows: "person running"."""

IRREGULAR = {
    "person": "people",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "mouse": "mice",
    "goose": "geese",
    "ox": "oxen",
    "knife": "knives",
    "leaf": "leaves",
    "wolf": "wolves",
    "elf": "elves",
    "scarf": "scarves",
    "loaf": "loaves",
    "die": "dice",
}
UNCHANGED = ("fish", "sheep", "deer", "moose", "bison", "squid", "shrimp", "aircraft", "salmon")
"""Endings of words that are their own plural."""

PLURALS_IN_OES = frozenset(
    {"tomato", "potato", "mango", "volcano", "buffalo", "hero", "mosquito", "tornado"}
)


@cache
def word_list(section: str) -> tuple[str, ...]:
    """The words in a section of `words.txt`: "fillers" or "uncountable"."""
    parts = WORDS.read_text(encoding="utf-8").split(f"[{section}]\n")[1].split("\n\n")
    return tuple(parts[0].split())


def with_article(phrase: str) -> str:
    """`phrase` with "a" or "an", or unchanged where English puts neither."""
    if not takes_article(phrase):
        return phrase
    first = phrase.lower()
    is_vowel = first.startswith(SILENT) or (
        first[0] in "aeiou" and not first.startswith(CONSONANT_SOUNDS)
    )
    return f"{'an' if is_vowel else 'a'} {phrase}"


def takes_article(phrase: str) -> bool:
    """Whether `phrase` is one of several possible things: no plural, no stuff, no proper name."""
    head = noun_of(phrase)
    is_plural = head in PLURALS or (head.endswith("s") and not head.endswith(("ss", "us", "is")))
    is_several = phrase.split()[0] in PLURALS
    return not (
        is_plural or is_several or head in word_list("uncountable") or phrase.startswith(PROPER)
    )


def noun_of(phrase: str) -> str:
    """The last word of `phrase` before "of", "with", "on" and the like, in small letters."""
    return before_preposition(phrase).split()[-1].lower()


def before_preposition(phrase: str) -> str:
    """The part of `phrase` before "of", "with", "on" and the like, or before a deed."""
    first, *others = phrase.split()
    if first.lower() in DOERS and others and others[0].endswith("ing"):
        return first
    for preposition in PREPOSITIONS:
        phrase = phrase.split(preposition)[0]
    return phrase


def may_be_counted(name: str) -> bool:
    """Whether one says "two" of them: names of things that are not too long."""
    noun = noun_of(name)
    is_deed = noun.endswith(("ing", "ed")) and len(noun) > 4
    return takes_article(name) and not is_deed and " and " not in name and len(name.split()) < 5


def make_plural(name: str) -> str:
    """More than one of `name`: "apples", "loaves of bread", "people running"."""
    words = before_preposition(name).split()
    rest = name[len(" ".join(words)) :]
    words[-1] = _make_word_plural(words[-1])
    return " ".join(words) + rest


def _make_word_plural(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(UNCHANGED):
        return word
    if word.endswith("man") and word != "human":
        return word[:-2] + "en"
    if word.endswith("y") and word[-2:-1] not in "aeiou-":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in PLURALS_IN_OES:
        return word + "es"
    return word + "s"
