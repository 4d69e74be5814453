from collections import Counter
from pathlib import Path

import pytest

from dpnb.emoji import PROMPTS
from dpnb.emoji.concepts import Concept, load_concepts
from dpnb.emoji.gather import candidates, choose_words, gather, read_keywords, word_lines
from dpnb.emoji.pictures import find_drawn
from tests.emoji.test_pictures import needs_font

ANNOTATIONS = """<ldml><annotations>
<annotation cp="🐱">cat | face | pet | purring</annotation>
<annotation cp="🐱" type="tts">cat face</annotation>
<annotation cp="🐶">dog | face | pet</annotation>
<annotation cp="🎺">trumpet | instrument | brass horn</annotation>
</annotations></ldml>"""


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "en.xml"
    path.write_text(ANNOTATIONS, encoding="utf-8")
    return path


def test_a_keyword_of_two_pictures_is_nobodys(annotations: Path) -> None:
    concepts = [Concept("cat face", ("cat",)), Concept("dog face"), Concept("trumpet")]

    words = choose_words(concepts, read_keywords(annotations))

    assert words["cat face"] == ["purring"]
    assert words["dog face"] == ["dog"]
    assert words["trumpet"] == ["instrument", "brass horn"]


def test_flags_letters_and_skin_tones_are_no_candidates() -> None:
    names = set(candidates())

    assert {"volcano", "pirate flag", "polar bear", "firefighter"} < names
    assert not names & {
        "Germany",
        "OK button",
        "two o’clock",
        "keycap 3",
        "waving hand dark skin tone",
    }


@needs_font
def test_what_a_font_lacks_is_left_out() -> None:
    assert find_drawn(["cat face", "orca", "dog face"]) == ["cat face", "dog face"]


@needs_font
def test_what_is_made_by_hand_comes_first(annotations: Path) -> None:
    lines = gather("[2]\nvolcano: mountain of fire\ncat face: trumpet\n", annotations)
    names = [line.partition(":")[0] for line in lines]

    assert {"dog", "dog face"} <= set(names)
    assert not {"volcano", "cat face", "trumpet"} & set(names)
    assert "wastebasket: trash can, bin" in lines


def test_the_table_has_over_a_thousand_pictures() -> None:
    concepts = load_concepts()

    assert 1_050 <= len(concepts) <= 1_150
    assert {concept.weight for concept in concepts} == {1.0, 2.0}
    assert len(set(word_lines("vague"))) == len(word_lines("vague"))


def test_prompts_that_are_shown_name_one_picture_each() -> None:
    owners = Counter(name for concept in load_concepts() for name in set(concept.bare_names))
    whole = Counter(name for concept in load_concepts() for name in (concept.name, *concept.others))
    for prompt in PROMPTS:
        noun = prompt.split(" on ")[0].removeprefix("an ").removeprefix("a ")
        assert whole[noun] == 1 or owners[noun.split(" ", 1)[1]] >= 1, prompt
