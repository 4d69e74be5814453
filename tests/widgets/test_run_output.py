"""What is shown of an output is told by the names and shapes of what it holds."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb.widgets.browser_images import count_frames, find_frame
from dpnb.widgets.run_output import STILLS, Rates, RunOutput, read_output

WIDE = (32, 16)
COLOURS = np.random.default_rng(0).random((2, 5, 16, 32, 3), dtype=np.float32)
FILM = [Image.fromarray((frame * 255).astype("uint8")) for frame in COLOURS[0]]


class Named(NamedTuple):
    images: Any


@dataclass
class Held:
    images: Any


def read(output: Any) -> RunOutput:
    return read_output(output, Rates(frames=5, samples=8000))


@pytest.mark.parametrize(
    "output",
    [
        {"images": FILM[:2]},
        Named(FILM[:2]),
        Held(FILM[:2]),
        (FILM[:2], None),
        {"images": COLOURS[:, 0]},
        {"images": torch.from_numpy(COLOURS[:, 0]).movedim(-1, 1)},
        {"images": [*torch.from_numpy(COLOURS[:, 0]).movedim(-1, 1)]},
        {"images": (COLOURS[:, 0] * 255).astype("uint8")},
    ],
    ids=["PIL", "named tuple", "dataclass", "tuple", "array", "tensor", "list", "bytes"],
)
def test_pictures(output: Any) -> None:
    found = read(output)
    assert [one.size for one in found.pictures] == [WIDE, WIDE]
    assert (found.animations, found.sounds, found.words) == ((), (), "")
    assert found.middles == found.pictures


@pytest.mark.parametrize(
    "output",
    [
        {"frames": [FILM]},
        {"frames": FILM},
        {"images": [FILM]},
        {"frames": COLOURS[:1]},
        {"frames": [COLOURS[0]]},
        {"frames": torch.from_numpy(COLOURS[:1]).movedim(-1, 2)},
        {"frames": torch.from_numpy(COLOURS[:1]).movedim(-1, 1)},
    ],
    ids=["PIL", "one", "nested", "array", "arrays", "tensor", "channels first"],
)
def test_videos(output: Any) -> None:
    found = read(output)
    [film] = found.animations
    assert count_frames(film) == 5
    assert len(found.pictures) == STILLS
    [middle] = found.middles
    assert middle.size == WIDE
    gap = np.asarray(middle, dtype=float) - np.asarray(FILM[2], dtype=float)
    assert abs(gap).max() <= 1
    assert find_frame(film, 4).size == WIDE


@pytest.mark.parametrize("sound", [np.linspace(-1, 1, 800), torch.rand(2, 800)])
def test_sounds(sound: Any) -> None:
    [file] = read({"audios": [sound]}).sounds
    with wave.open(io.BytesIO(file)) as opened:
        assert opened.getnframes() == 800
        assert opened.getnchannels() == (1 if sound.ndim == 1 else 2)
        assert opened.getframerate() == 8000


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"images": torch.randn(1, 4, 8, 8)}, "latents, 1 × 4 × 8 × 8"),
        (torch.randn(1, 64, 16), "latents, 1 × 64 × 16"),
        ({"frames": torch.randn(1, 16, 3, 8, 8)}, "latents, 1 × 16 × 3 × 8 × 8"),
        ({"image_embeds": torch.rand(1, 12), "nsfw": [True]}, "image embeddings, 1 × 12"),
        ({"images": None, "text": ["a cat"]}, "a cat"),
    ],
)
def test_what_cannot_be_shown_is_said(output: Any, words: str) -> None:
    found = read(output)
    assert (found.words, found.pictures) == (words, ())


def test_nothing_is_nothing() -> None:
    assert not read(None)
    assert not read({"images": []})


@pytest.mark.parametrize(
    ("output", "words", "count"),
    [
        (
            {"prediction": np.linspace(-1, 3, 96, dtype=np.float32).reshape(2, 4, 4, 3)},
            "prediction: 2 × 4 × 4 × 3, shown from -1 (dark) to 3 (bright)",
            2,
        ),
        (
            {"depth": np.linspace(5, 9, 16, dtype=np.float32).reshape(1, 4, 4)},
            "depth: 1 × 4 × 4 × 1, shown from 5 (dark) to 9 (bright)",
            1,
        ),
        ({"prediction": [torch.full((1, 4, 4), 7.0)]}, "", 1),
    ],
)
def test_maps_are_spread_over_all_colours(output: Any, words: str, count: int) -> None:
    found = read(output)
    assert words in found.words
    assert len(found.pictures) == count
    assert len(found.numbers) == 1
    [name] = output
    saved = np.load(io.BytesIO(found.numbers[0].content))
    assert found.numbers[0].name == name
    assert saved.max() == np.asarray(output[name][0]).max() or len(output[name]) > 1


def test_bright_films_are_spread_too() -> None:
    found = read({"frames": 4 * COLOURS[:1]})
    assert [count_frames(one) for one in found.animations] == [5]
    assert "(bright)" in found.words


def test_numbers_without_a_shape_of_pictures_stay_words() -> None:
    bad = np.full((1, 4, 4, 3), np.nan, dtype=np.float32)
    for value in (bad, np.zeros((1, 0, 4, 3)), np.zeros((1, 1, 4, 3)) + 5, np.zeros((1, 4, 4, 2))):
        assert read({"prediction": value}).pictures == ()
    assert read({"image_embeds": np.full((1, 4, 4, 3), 9.0)}).pictures == ()
