import pytest

from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.grammar import make_plural, may_be_counted, with_article, word_list


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
        ("x-ray", "an x-ray"),
        ("house", "a house"),
        ("sunglasses", "sunglasses"),
        ("french fries", "french fries"),
        ("people hugging", "people hugging"),
        ("bread", "bread"),
        ("loaf of bread", "a loaf of bread"),
        ("bunch of grapes", "a bunch of grapes"),
        ("face with tears of joy", "a face with tears of joy"),
        ("octopus", "an octopus"),
        ("Santa Claus", "Santa Claus"),
        ("Christmas tree", "a Christmas tree"),
        ("person playing handball", "a person playing handball"),
    ],
)
def test_an_article_is_put_where_english_puts_one(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat", "cats"),
        ("box", "boxes"),
        ("cherry blossom", "cherry blossoms"),
        ("puppy", "puppies"),
        ("monkey", "monkeys"),
        ("tomato", "tomatoes"),
        ("piano", "pianos"),
        ("loaf of bread", "loaves of bread"),
        ("person running", "people running"),
        ("face blowing a kiss", "faces blowing a kiss"),
        ("policeman", "policemen"),
        ("goose", "geese"),
        ("tropical fish", "tropical fish"),
        ("yo-yo", "yo-yos"),
    ],
)
def test_a_plural_is_the_one_that_english_has(name: str, expected: str) -> None:
    assert make_plural(name) == expected


def test_only_things_are_counted() -> None:
    names = ["bread", "scissors", "person swimming", "crossed fingers", "hammer and pick", "ring"]

    assert [may_be_counted(name) for name in names] == [False, False, True, False, False, True]


def test_most_pictures_can_be_counted() -> None:
    countable = [may_be_counted(concept.name) for concept in load_concepts()]

    assert sum(countable) > 0.8 * len(countable)


def test_no_filler_belongs_to_both_lists() -> None:
    assert not set(word_list("fillers")) & set(word_list("uncountable"))
