"""The code of a card is taken apart, whatever a card holds."""

from __future__ import annotations

import ast

import pytest

from dpnb.loading.card_code import MAX_BLOCK, parse_code


def code(text: str) -> list[str]:
    """The blocks that were understood, written again."""
    return [ast.unparse(block) for block in map(as_module, parse_code(text))]


def as_module(body: list[ast.stmt]) -> ast.Module:
    """Statements as a module."""
    return ast.Module(body=body, type_ignores=[])


@pytest.mark.parametrize(
    "fence",
    ["```python\n{}\n```", "```py\n{}\n```", "~~~Python title=x\n{}\n~~~", "```\n{}\n```",
     "````python\n{}\n````", "1. First:\n\n   ```python\n   {}\n   ```",
     "<details>\n\n```python\n{}\n```\n\n</details>", "```python\n{}\n"],
)  # fmt: skip
def test_fences_are_those_of_markdown(fence: str) -> None:
    assert code(f"---\nlicense: mit\n---\n{fence.format('a = 1')}") == ["a = 1"]


@pytest.mark.parametrize(
    "text", ["a = 1", "```bash\na = 1\n```", "`a = 1`", "```json\n{}\n```", ""]
)
def test_what_is_no_python_is_left_out(text: str) -> None:
    assert code(text) == []


def test_lines_for_a_shell_or_a_notebook_are_left_out() -> None:
    lines = ["!pip install x", "%matplotlib inline", "$ ls", "pip install -U y", "a = 1"]
    assert code("\n".join(["```python", *lines, "```"])) == ["a = 1"]


def test_prompts_of_an_interpreter_are_left_out() -> None:
    assert code("```pycon\n>>> a = (\n...     1)\n>>> a\n1\n```") == ["a = 1\na"]


def test_a_block_that_is_broken_leaves_the_others() -> None:
    assert code("```python\na = (\n```\n```python\nb = 2\n```") == ["b = 2"]


def test_code_that_python_would_warn_of_is_read() -> None:
    assert code('```python\na = "\\d"\n```') == ["a = '\\\\d'"]


@pytest.mark.parametrize(
    "block",
    ["-" * 60_000 + "1", "(" * 250 + ")" * 250, "a." * 30_000 + "b", "lambda:" * 9_000 + "1",
     "1" + "+1" * 30_000, "\0", "9" * 60_000, "a = 1\n" * MAX_BLOCK],
)  # fmt: skip
def test_code_that_is_too_deep_or_too_long_is_left_out(block: str) -> None:
    assert code(f"```python\n{block}\n```\n```python\nb = 2\n```") == ["b = 2"]
