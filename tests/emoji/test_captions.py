import numpy as np
import pytest

from dpnb.emoji.captions import Wording, Writer, words_of
from dpnb.emoji.concepts import Concept, drop_natural_look, load_concepts, parse_concepts
from dpnb.emoji.scenes import Place, Scene, Size, Thing

PLAIN = Wording(other_name=0, filler=0, opening=0, article=0, digit=0, white=0, empty=0)
APPLE, PIZZA = Concept("red apple", ("apple",)), Concept("pizza")


def write(scene: Scene, wording: Wording = PLAIN, seed: int = 0) -> str:
    return Writer(wording, ("old",)).write(scene, np.random.default_rng(seed))


def written(scene: Scene, wording: Wording = PLAIN) -> set[str]:
    return {write(scene, wording, seed) for seed in range(60)}


def test_a_colour_replaces_the_one_in_the_name() -> None:
    assert write(Scene((Thing(APPLE),))) == "red apple"
    assert write(Scene((Thing(APPLE, "blue"),))) == "blue apple"


def test_a_background_and_a_size_are_named() -> None:
    scene = Scene((Thing(APPLE),), size=Size.SMALL, background="orange")

    assert written(scene) == {
        f"{size} red apple on an orange background" for size in ("small", "tiny", "little")
    }


def test_two_things_are_named_from_the_left() -> None:
    scene = Scene((Thing(APPLE, "green"), Thing(PIZZA)))

    captions = written(scene, Wording(0, 0, 0, 0, 1, white=0, empty=0, digit=0))

    assert {
        "a green apple and a pizza",
        "a green apple next to a pizza",
        "a green apple left of a pizza",
    } <= captions
    assert all(caption.startswith("a green apple") for caption in captions)


def test_several_are_counted() -> None:
    assert write(Scene((Thing(APPLE, "blue"),), count=3)) == "three blue apples"
    assert write(Scene((Thing(PIZZA),), count=2)) == "two pizzas"


@pytest.mark.parametrize(
    ("place", "background", "expected"),
    [
        (Place.LEFT, "white", "a pizza on the left"),
        (Place.TOP, "blue", "a pizza at the top of a blue background"),
    ],
)
def test_a_place_is_named(place: Place, background: str, expected: str) -> None:
    assert write(Scene((Thing(PIZZA),), place=place, background=background)) == expected


def test_without_a_caption_there_is_no_word_at_all() -> None:
    assert write(Scene((Thing(APPLE, "blue"),)), Wording(empty=1)) == ""


def test_a_filler_makes_no_other_name() -> None:
    wording = Wording(other_name=0, filler=1, stranger=0, opening=0, article=0, white=0, empty=0)
    writer = Writer(wording, ("old",), names=frozenset({"key", "old key"}))
    rng = np.random.default_rng(0)

    assert writer.write(Scene((Thing(Concept("key")),)), rng) == "key"
    assert writer.write(Scene((Thing(PIZZA),)), rng) == "old pizza"


def test_words_are_letters_and_hyphens() -> None:
    assert words_of(["T-Rex’s 3 eggs!", "an OK hand"]) == {"eggs", "hand"}


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
