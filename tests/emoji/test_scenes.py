from collections import Counter

import numpy as np

from dpnb.emoji.concepts import Concept, load_concepts
from dpnb.emoji.scenes import Place, Scene, Shares, Size, choose_scene

CONCEPTS = load_concepts()[:40]
ODDS = np.full(40, 1 / 40)


def draw(shares: Shares, count: int = 1500) -> list[Scene]:
    rng = np.random.default_rng(0)
    return [choose_scene(CONCEPTS, ODDS, shares, rng) for _ in range(count)]


def kind(scene: Scene) -> str:
    if len(scene.things) > 1:
        return "pair"
    if scene.count > 1:
        return "several"
    if scene.place is not Place.ANYWHERE:
        return "placed"
    return "sized" if scene.size is not Size.ANY else "plain"


def test_kinds_of_scenes_are_as_frequent_as_asked() -> None:
    found = Counter(map(kind, draw(Shares())))

    for name, share in {"pair": 0.2, "several": 0.08, "placed": 0.06, "sized": 0.06}.items():
        assert abs(found[name] / 1500 - share) < 0.03, name


def test_without_departures_one_thing_is_there() -> None:
    assert {kind(scene) for scene in draw(Shares().times(0), 200)} == {"plain"}


def test_two_things_differ() -> None:
    for scene in draw(Shares(pair=1), 300):
        first, second = scene.things
        assert first.concept != second.concept


def test_paint_and_background_differ() -> None:
    for scene in draw(Shares(colour=1, background=1), 300):
        assert all(thing.colour not in (None, scene.background) for thing in scene.things)


def test_what_cannot_be_counted_is_there_once() -> None:
    rng = np.random.default_rng(0)
    stuff = (Concept("bread"), Concept("sunglasses"))
    scenes = [choose_scene(stuff, np.ones(2) / 2, Shares(0, 1), rng) for _ in range(20)]

    assert {scene.count for scene in scenes} == {1}
