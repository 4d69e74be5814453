"""What the docstring of a pipeline's call says of its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST = 200
"""Letters of a sentence that is shown beside a field."""

ENTRY = re.compile(r"^( *)\*{0,2}(\w+)`? ?(?:\(.*\))?:[ \t]*(.*)$")

SECTIONS = frozenset({"Args", "Example", "Examples", "Note", "Parameters", "Raises", "Returns"})

QUOTED = re.compile(r"[`'\"]{1,3}([\w-]+)[`'\"]{1,3}")

CHOICE = re.compile(
    r"(?:one of|choose (?:between|from)|accepted values are|must be (?:either|one of)|either)",
    re.IGNORECASE,
)
"""After which a docstring lists the words that an argument may have."""


@dataclass(frozen=True)
class ArgumentDocumentation:
    """What is documented of an argument.

    Args:
        text: all of it, in one line.
    """

    text: str = ""

    @property
    def summary(self) -> str:
        """Its first sentence, without markup."""
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", self.text).replace("`", "")
        first = re.split(r"(?<=[.!?]) (?=[A-Z])", plain, maxsplit=1)[0].strip()
        return first if len(first) <= LONGEST else f"{first[: LONGEST - 1]}…"

    def choices(self, default: str) -> tuple[str, ...]:
        """The words of which one is to be given, `default` among them; none where it lists none."""
        listed = CHOICE.search(self.text)
        if listed is None:
            return ()
        sentence = re.split(r"\.(?:\s|$)", self.text[listed.end() :], maxsplit=1)[0]
        words = tuple(dict.fromkeys(QUOTED.findall(sentence)))
        return words if default in words and len(words) > 1 else ()


UNDOCUMENTED = ArgumentDocumentation()


def read_documentation(docstring: str | None) -> Mapping[str, ArgumentDocumentation]:
    """What a docstring says of each argument, by its name."""
    found: dict[str, list[str]] = {}
    name, indent = "", 0
    for line in (docstring or "").splitlines():
        entry = ENTRY.match(line)
        depth = len(line) - len(line.lstrip())
        if entry is not None and entry[2] in SECTIONS:
            name = ""
        elif entry is not None and (not name or depth <= indent):
            name, indent = entry[2], depth
            found[name] = [entry[3]]
        elif name and (depth > indent or not line.strip()):
            found[name].append(line.strip())
        else:
            name = ""
    return {one: ArgumentDocumentation(" ".join(lines).strip()) for one, lines in found.items()}
