"""Expressions from files: matched as peft does with `re`, and never for long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpnb.loading.adapters.name_patterns import LONGEST, NamePattern, PatternError

PIECES = ["a", "b", ".", r"\.", "a*", "b?", ".*", "(a|b)", "(?:a.|b)+", "[ab]", "[a-c1]", r"\d"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.booleans(), st.data())
def test_it_matches_what_pefts_own_expression_does(
    pieces: list[str], is_whole: bool, data: st.DataObject
) -> None:
    expression = "^" * is_whole + "".join(pieces)
    pattern = NamePattern(expression)
    for _ in range(5):
        name = data.draw(st.text("abc.1", min_size=1, max_size=9))
        expected = re.match(rf"(.*\.)?({expression})$", name) is not None
        assert pattern.matches(name) is expected


@pytest.mark.parametrize(
    ("expression", "matching", "others"),
    [
        ("to_q", ["to_q", "down.0.to_q"], ["into_q", "to_q.0", ""]),
        ("^down.to_q", ["down.to_q"], ["mid.down.to_q"]),
        (r"down\.\d+\..*to_(q|k)$", ["down.10.attn.to_k", "x.down.1.to_q"], ["down.a.to_q"]),
        ("attn[12].to_v", ["mid.attn2.to_v"], ["mid.attn3.to_v"]),
    ],
)
def test_names_are_matched(expression: str, matching: list[str], others: list[str]) -> None:
    pattern = NamePattern(expression)
    assert all(map(pattern.matches, matching))
    assert not any(map(pattern.matches, others))


@pytest.mark.parametrize(
    "expression",
    [
        *("(a", "a)", "[a", "[^a]", "[\u00e0-\u00fc]", "a{2}", "a**", "*a", r"\s", r"(a)\1"),
        *("(?=a)", "a$b", "^a|b", "a*" * LONGEST, "(" * 9 + "a" + ")" * 9 + "*", "\\"),
    ],
)
def test_what_it_does_not_understand_is_refused(expression: str) -> None:
    with pytest.raises(PatternError):
        NamePattern(expression)


@pytest.mark.parametrize(
    "expression", ["((a*)*)*c", "(a|a)*(a|aa)*c", "(.*.*)*.*.*.*.*c", "(a?)" * 40 + "c"]
)
def test_an_expression_that_takes_others_ages_takes_no_time(expression: str) -> None:
    pattern = NamePattern(expression)
    assert not pattern.matches("a" * LONGEST)
    assert not pattern.matches("a" * LONGEST * 1000 + "c")
