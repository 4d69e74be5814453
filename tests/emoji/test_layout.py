import numpy as np
import pytest

from dpnb.emoji.concepts import Concept
from dpnb.emoji.layout import ALL_VARIETY, Variety, arrange, choose_shade, may_mirror
from dpnb.emoji.pictures import Placement, Shade
from dpnb.emoji.scenes import Place, Scene, Size, Thing

CAT, PIZZA = Thing(Concept("cat face")), Thing(Concept("pizza"))
EXTENT = (0.94, 0.9)


def draw(scene: Scene, variety: Variety = ALL_VARIETY, count: int = 100) -> list[list[Placement]]:
    rng = np.random.default_rng(0)
    return [arrange(scene, [EXTENT] * len(scene.things), variety, rng) for _ in range(count)]


@pytest.mark.parametrize(
    "scene",
    [
        Scene((CAT,)),
        Scene((CAT, PIZZA)),
        Scene((CAT,), count=2),
        Scene((CAT,), count=3),
        Scene((CAT,), place=Place.TOP),
        Scene((CAT,), size=Size.SMALL),
    ],
)
def test_everything_stays_inside_the_picture(scene: Scene) -> None:
    for placements in draw(scene):
        assert len(placements) == max(scene.count, len(scene.things))
        for placement in placements:
            for shift, side in zip(placement.shift, EXTENT, strict=True):
                assert abs(shift) + side * placement.scale / 2 <= 0.501


def test_without_variety_there_is_no_chance() -> None:
    for scene in (Scene((CAT,)), Scene((CAT, PIZZA)), Scene((CAT,), count=3)):
        first, *others = draw(scene, Variety(), 10)
        assert all(other == first for other in others)


def test_the_first_named_stands_left() -> None:
    for first, second in draw(Scene((CAT, PIZZA))):
        assert first.shift[0] < -0.15
        assert second.shift[0] > 0.15
        assert abs(first.shift[1] - second.shift[1]) < 0.25


@pytest.mark.parametrize(
    ("place", "axis", "sign"),
    [(Place.LEFT, 0, -1), (Place.RIGHT, 0, 1), (Place.TOP, 1, -1), (Place.BOTTOM, 1, 1)],
)
def test_a_place_is_kept(place: Place, axis: int, sign: int) -> None:
    for (placement,) in draw(Scene((CAT,), place=place)):
        assert sign * placement.shift[axis] > 0.12
        assert abs(placement.shift[1 - axis]) < 0.1


def test_small_is_smaller_than_any_and_big_larger_than_most() -> None:
    small, any_size, big = (
        [placement.scale for (placement,) in draw(Scene((CAT,), size=size))]
        for size in (Size.SMALL, Size.ANY, Size.BIG)
    )

    assert max(small) < 0.75 * min(any_size)
    assert min(big) > float(np.mean(any_size))


def test_what_can_be_read_has_no_mirror_image() -> None:
    for name in ("keycap 7", "right arrow", "musical notes", "alarm clock", "hundred points"):
        assert not may_mirror(name)
    for name in ("cat face", "rocket", "monarch butterfly", "keyhole"):
        assert may_mirror(name)
    assert not any(one.is_mirrored for (one,) in draw(Scene((Thing(Concept("left arrow")),))))


def test_a_part_of_the_variety_is_less_of_everything() -> None:
    assert ALL_VARIETY.times(0) == Variety()
    assert ALL_VARIETY.times(1) == ALL_VARIETY
    assert choose_shade(Variety(), np.random.default_rng(0)) == Shade()
