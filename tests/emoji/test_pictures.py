import os

import numpy as np
import pytest
import torch

from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.layout import ALL_VARIETY
from dpnb.emoji.pictures import (
    BACKGROUNDS,
    FONT,
    PAINTS,
    Icon,
    Picture,
    Placement,
    Shade,
    composite,
    place,
    shade,
    tint,
    turn_hue,
)
from dpnb.emoji.samples import Curriculum, Habits, Samples, load_batches
from dpnb.emoji.scenes import Scene

needs_font = pytest.mark.skipif(
    not FONT.exists() and "CI" not in os.environ,
    reason="needs the Debian package fonts-noto-color-emoji",
)


def grey_disc() -> Picture:
    rows, columns = np.mgrid[:64, :64] - 31.5
    alpha = (rows**2 + columns**2 < 24**2).astype(np.float32)
    return np.stack([alpha * 0.5] * 3 + [alpha], axis=-1)


def test_a_tint_gives_the_middle_tone_the_colour_and_keeps_the_shape() -> None:
    tinted = tint(grey_disc(), PAINTS["blue"])

    np.testing.assert_allclose(tinted[32, 32, :3] * 255, PAINTS["blue"], atol=1)
    np.testing.assert_array_equal(tinted[..., 3], grey_disc()[..., 3])
    assert (tinted[..., :3] <= tinted[..., 3:]).all()


def test_a_background_shows_where_the_picture_is_clear() -> None:
    flat = composite([grey_disc()], BACKGROUNDS["red"])

    assert flat.shape == (3, 64, 64)
    np.testing.assert_allclose((flat[:, 0, 0] + 1) * 127.5, BACKGROUNDS["red"], atol=0.01)
    np.testing.assert_allclose(flat[:, 32, 32], 0, atol=1e-6)


def test_the_last_picture_covers_those_before_it() -> None:
    black = grey_disc() * np.array([0, 0, 0, 1], dtype=np.float32)

    np.testing.assert_array_equal(
        composite([grey_disc(), black], (9, 9, 9)), composite([black], (9, 9, 9))
    )


def test_a_shade_changes_little_and_no_grey_by_hue() -> None:
    disc = grey_disc()

    np.testing.assert_allclose(shade(disc, Shade(hue=30)), disc, atol=1e-6)
    assert shade(disc, Shade(light=0.2))[32, 32, 0] == pytest.approx(0.6)
    assert shade(disc, Shade(light=-0.2))[32, 32, 0] == pytest.approx(0.4)


def test_hues_turn_from_red_to_green() -> None:
    red = np.array([1, 0, 0], dtype=np.float32)

    np.testing.assert_allclose(red @ turn_hue(120), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(turn_hue(20) @ turn_hue(-20), np.eye(3), atol=1e-6)


def test_an_unknown_font_is_named_with_its_package(tmp_path: object) -> None:
    from pathlib import Path

    from dpnb.emoji.pictures import render

    with pytest.raises(FileNotFoundError, match="fonts-noto-color-emoji"):
        render(["cat"], Path(f"{tmp_path}/none.ttf"))


@needs_font
def test_every_concept_has_a_picture_of_its_own() -> None:
    from dpnb.emoji.pictures import render

    icons = render([concept.name for concept in load_concepts()])

    assert len({icon.tobytes() for icon in icons.values()}) == len(load_concepts())
    assert all(icon.getbbox() is not None for icon in icons.values())


@needs_font
def test_placements_shift_and_mirror() -> None:
    from dpnb.emoji.pictures import render

    icon = Icon.of(render(["rocket"])["rocket"])
    plain = place(icon, Placement(scale=0.5))
    mirrored = place(icon, Placement(scale=0.5, is_mirrored=True))
    shifted = place(icon, Placement(scale=0.5, shift=(0.125, 0)))

    np.testing.assert_allclose(mirrored, plain[:, ::-1], atol=0.02)
    np.testing.assert_allclose(shifted[:, 8:], plain[:, :-8], atol=0.02)


@needs_font
def test_samples_depend_on_the_seed_and_the_number_alone() -> None:
    concepts = load_concepts()[:8]

    def first(start: int, stride: int, count: int) -> tuple[torch.Tensor, list[str]]:
        samples = Samples(concepts, Habits(variety=ALL_VARIETY), 3, start, stride)
        return next(load_batches(samples, count))

    pictures, captions = first(0, 1, 4)
    odd_pictures, odd_captions = first(1, 2, 2)

    torch.testing.assert_close(odd_pictures, pictures[1::2])
    assert odd_captions == captions[1::2]
    assert pictures.min() >= -1
    assert pictures.max() <= 1


@needs_font
def test_a_curriculum_begins_with_few_plain_things() -> None:
    concepts = load_concepts()[:30]
    curriculum = Curriculum(first_concepts=4, all_concepts=400, plain=200, all_habits=600)

    def scenes(start: int) -> list[Scene]:
        samples = Samples(concepts, Habits(), 3, start, 1, curriculum)
        drawn = []
        for number in range(start, start + 100):
            rng, habits = samples.begin(number)
            drawn.append(samples.draw_caption(number, habits, rng)[0])
        return drawn

    early, late = scenes(0), scenes(600)
    known = {thing.concept for scene in early for thing in scene.things}

    assert known <= set(concepts[:11])
    assert concepts[3] in known
    assert all(scene == Scene(scene.things[:1]) for scene in early)
    assert all(scene.things[0].colour is None for scene in early)
    assert {thing.concept for scene in late for thing in scene.things} - set(concepts[:20])
    assert any(len(scene.things) > 1 for scene in late)


def test_a_curriculum_rises_in_straight_lines() -> None:
    curriculum = Curriculum(first_concepts=10, all_concepts=100, plain=50, all_habits=150)

    assert [curriculum.concepts(n, 30) for n in (0, 50, 100, 10**9)] == [10, 20, 30, 30]
    assert [curriculum.departures(n) for n in (0, 50, 100, 150, 10**9)] == [0, 0, 0.5, 1, 1]
    assert curriculum.concepts(0, 5) == 5
    assert Curriculum().concepts(0, 30) == 30
    assert Curriculum().departures(0) == 1
