import numpy as np
import pytest

from dpnb.emoji.captions import Habits, Look, choose_look, with_article, word_list, write_caption
from dpnb.emoji.concepts import Concept, drop_natural_look, load_concepts, parse_concepts

PLAIN = Habits(other_name=0, filler=0, opening=0, article=0, empty=0)
APPLE = Concept("red apple", ("apple",))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("orange", "an orange"),
        ("orange cat", "an orange cat"),
        ("cat", "a cat"),
        ("unicorn", "a unicorn"),
        ("ufo", "a ufo"),
        ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"),
        ("house", "a house"),
        ("sunglasses", "sunglasses"),
        ("french fries", "french fries"),
        ("bread", "bread"),
        ("loaf of bread", "a loaf of bread"),
        ("bunch of grapes", "a bunch of grapes"),
        ("face with tears of joy", "a face with tears of joy"),
        ("octopus", "an octopus"),
        ("Santa Claus", "Santa Claus"),
    ],
)
def test_an_article_is_put_where_english_puts_one(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected


def test_a_colour_replaces_the_one_in_the_name() -> None:
    rng = np.random.default_rng(0)

    assert write_caption(APPLE, Look(), PLAIN, rng, ()) == "red apple"
    assert write_caption(APPLE, Look("blue"), PLAIN, rng, ()) == "blue apple"


def test_a_background_and_a_size_are_named() -> None:
    look = Look(background="orange", size="small")

    caption = write_caption(APPLE, look, PLAIN, np.random.default_rng(0), ())

    assert caption == "small red apple on an orange background"


def test_without_a_caption_there_is_no_word_at_all() -> None:
    habits = Habits(empty=1)

    assert write_caption(APPLE, Look("blue"), habits, np.random.default_rng(0), ()) == ""


def test_paint_and_background_differ() -> None:
    rng = np.random.default_rng(0)
    looks = [choose_look(APPLE, Habits(colour=1, background=1), rng) for _ in range(300)]

    assert all(look.colour != look.background for look in looks)


def test_a_single_word_is_never_taken_for_a_description() -> None:
    assert drop_natural_look("orange") == "orange"
    assert drop_natural_look("large orange diamond") == "diamond"


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        parse_concepts(["[2]", "cat: kitty", "", "# animals", "cat"])


def test_sections_give_weights() -> None:
    cat, dog = parse_concepts(["[2]", "cat: kitty, tom cat", "[1]", "dog"])

    assert cat == Concept("cat", ("kitty", "tom cat"), 2.0)
    assert dog == Concept("dog", (), 1.0)


def test_no_word_means_two_pictures() -> None:
    names = [name for concept in load_concepts() for name in (concept.name, *concept.others)]

    assert sorted(names) == sorted(set(names))


def test_no_filler_belongs_to_both_lists() -> None:
    assert not set(word_list("fillers")) & set(word_list("uncountable"))
