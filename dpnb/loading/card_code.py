"""The Python code of a model card, as syntax trees; none of it is ever run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

LANGUAGES = frozenset({"", "ipython", "ipython3", "py", "pycon", "python", "python3"})
"""What fenced code calls itself that may be Python."""

MAX_BLOCK = 64 << 10
"""Characters of a block of code; an example has some thousands."""

_SHELL = re.compile(r"\s*([!%$]|(pip3?|conda|uv|git|huggingface-cli|hf|cd) +[\w./-])")
_PROMPT = re.compile(r"(>>>|\.\.\.)( |$)")


def parse_code(text: str) -> Iterator[list[ast.stmt]]:
    """The statements of each fenced block that is Python, in the order of the card.

    Lines for a shell or a notebook are left out, as are the prompts of an interpreter. What is no
    Python, or is too long or too deep for an example, is left out as a whole.

    Args:
        text: of the card, in Markdown.
    """
    for block in _find_blocks(text):
        statements = _parse(_keep_python(block))
        if statements is not None:
            yield statements


def _parse(code: str) -> list[ast.stmt] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _find_blocks(text: str) -> Iterator[str]:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark")
    reader.core.ruler.enableOnly(["normalize", "block"])
    for token in reader.parse(text):
        language = token.info.strip().partition(" ")[0].strip("{.}").lower()
        is_code = token.type == "fence" and language in LANGUAGES
        if is_code and len(token.content) <= MAX_BLOCK:
            yield token.content


def _keep_python(block: str) -> str:
    lines = block.splitlines()
    if any(line.startswith(">>> ") for line in lines):
        return "\n".join(line[4:] for line in lines if _PROMPT.match(line))
    return "\n".join("" if _SHELL.match(line) else line for line in lines)
