from __future__ import annotations

import json

import pytest

from dpnb.loading.adapters.trigger_words import MOST, list_trigger_words


def test_the_authors_phrase_comes_first_then_tags_by_number_then_the_name() -> None:
    tags = {"10_cats": {"cat": 4, "whiskers ": 9}, "5_more": {"cat": 6, "never": 0}}
    metadata = {
        "ss_output_name": "cats_v2",
        "ss_tag_frequency": json.dumps(tags),
        "modelspec.trigger_phrase": " my cat ",
    }
    assert list_trigger_words(metadata) == ("my cat", "cat", "whiskers", "cats_v2")


def test_a_word_comes_once_and_tags_are_few() -> None:
    tags = {f"tag {number:02d}": 100 - number for number in range(50)}
    words = list_trigger_words(
        {"modelspec.trigger_phrase": "tag 00", "ss_tag_frequency": json.dumps({"folder": tags})}
    )
    assert words == tuple(list(tags)[:MOST])


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 3}', '{"a": {"b": "many"}}', "[" * 9999])
def test_what_cannot_be_read_is_passed_over(text: str) -> None:
    assert list_trigger_words({"ss_tag_frequency": text}) == ()
