"""Pictures, films and sounds become what a call is given, and the code says how."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.widgets.browser_sounds import encode_wave
from dpnb.widgets.media_input import KINDS, MediaInput, is_media
from dpnb.widgets.sound_uploads import load_sound
from dpnb.widgets.uploads import load_frames, load_picture, stack_frames
from tests.pictures import picture

FRAMES = [Image.new("RGB", (8, 6), (level, 0, 0)) for level in (0, 100, 200)]


def call(
    self: object,
    image: Any,
    several: Image.Image | list[Image.Image] | None = None,
    always: list[Image.Image] | None = None,
    video: list[Image.Image] | None = None,
    mask_video: torch.FloatTensor | None = None,
    audio: torch.Tensor | None = None,
    batched_audio: torch.Tensor | None = None,
    size: int = 3,
) -> None:
    """Draw.

    Args:
        batched_audio (`torch.Tensor`): A sound `(batch, channels, samples)`.
    """


for name, said in list(call.__annotations__.items()):
    call.__annotations__[name] = str(said).strip("\"'").replace("Image.Image", "PIL.Image.Image")


def saved(*frames: Image.Image) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


FILES = {
    "a.png": saved(picture(0, 6, 8)),
    "b.png": saved(picture(1, 6, 8)),
    "film.png": saved(*FRAMES),
    "tone.wav": encode_wave(torch.linspace(-1, 1, 30).reshape(1, 30), 8000),
}
SIGNATURE = CallSignature.of(call)


def input_of(name: str) -> MediaInput:
    argument = SIGNATURE.find(name)
    assert argument is not None
    return MediaInput.of(argument, rate=16_000)


def test_all_of_it_has_a_field() -> None:
    found = [one.name for one in SIGNATURE if one.kind in KINDS]
    assert found == [one.name for one in SIGNATURE][:-1]


@pytest.mark.parametrize(
    ("name", "files", "shape"),
    [
        ("image", ["a.png"], (8, 6)),
        ("several", ["a.png"], (8, 6)),
        ("several", ["a.png", "b.png"], [2]),
        ("always", ["a.png"], [1]),
        ("video", ["film.png"], [3]),
        ("video", ["a.png", "film.png"], [4]),
        ("mask_video", ["film.png"], (1, 1, 3, 6, 8)),
        ("audio", ["tone.wav"], (1, 60)),
        ("batched_audio", ["tone.wav"], (1, 1, 60)),
    ],
)
def test_the_code_reads_what_the_panel_has_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    files: list[str],
    shape: tuple[int, ...] | list[int],
) -> None:
    media_input = input_of(name)
    value: Any = media_input.read([(file, FILES[file]) for file in files])
    assert is_media(value)
    if isinstance(shape, list):
        assert [len(value)] == shape
    else:
        assert tuple(value.size if isinstance(value, Image.Image) else value.shape) == shape
    for file in files:
        (tmp_path / file).write_bytes(FILES[file])
    monkeypatch.chdir(tmp_path)
    readers = (load_picture, load_frames, load_sound, stack_frames)
    again = eval(media_input.write(files), {one.__name__: one for one in readers})
    assert type(again) is type(value)
    same = torch.equal(again, value) if isinstance(value, torch.Tensor) else again == value
    assert same


def test_frames_become_numbers_between_zero_and_one() -> None:
    numbers = stack_frames(FRAMES)
    assert numbers.shape == (1, 3, 3, 6, 8)
    assert numbers[0, 0, :, 0, 0].tolist() == pytest.approx([0, 100 / 255, 200 / 255])


def test_what_cannot_be_chosen_is_no_media() -> None:
    assert not any(is_media(value) for value in ([], [1], "a", {"a": 1}, None))
