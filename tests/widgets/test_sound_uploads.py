"""Sounds are read from WAV files, and nothing else is."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from dpnb.widgets.browser_sounds import encode_wave
from dpnb.widgets.sound_uploads import load_sound, read_sound
from dpnb.widgets.uploads import UploadError

TONE = torch.stack([torch.linspace(-1, 1, 64), torch.zeros(64)])


def encoded(levels: bytes, width: int, channels: int = 1, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.Wave_write(file) as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(rate)
        written.writeframes(levels)
    return file.getvalue()


def test_what_a_page_plays_is_read_again(tmp_path: Path) -> None:
    content = encode_wave(TONE, 8000)
    found = read_sound(content, "tone.wav")
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, TONE, atol=1e-4, rtol=0)
    (tmp_path / "tone.wav").write_bytes(content)
    assert torch.equal(load_sound(tmp_path / "tone.wav"), found)


@pytest.mark.parametrize(
    ("levels", "width"),
    [
        (np.array([0, 128, 192], dtype=np.uint8).tobytes(), 1),
        (np.array([-(2**15), 0, 2**14], dtype="<i2").tobytes(), 2),
        (bytes([0, 0, 128, 0, 0, 0, 0, 0, 64]), 3),
        (np.array([-(2**31), 0, 2**30], dtype="<i4").tobytes(), 4),
    ],
)
def test_samples_of_every_width_lie_between_the_same_bounds(levels: bytes, width: int) -> None:
    assert read_sound(encoded(levels, width), "a.wav").tolist() == [[-1.0, 0.0, 0.5]]


def test_another_rate_keeps_the_duration() -> None:
    found = read_sound(encode_wave(TONE, 8000), "tone.wav", 16_000)
    assert found.shape == (2, 128)
    assert float(found[0].diff().min()) >= 0


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"ID3\x04" + bytes(100), encoded(b"\0\0", 2)[:30]],
)
def test_what_is_no_sound_is_a_sentence(content: bytes) -> None:
    with pytest.raises(UploadError, match=r"^a.wav is no sound that can be read; choose a WAV"):
        read_sound(content, "a.wav")


def test_an_empty_sound_is_one_too() -> None:
    with pytest.raises(UploadError, match=r"^a.wav holds no sound"):
        read_sound(encoded(b"", 2), "a.wav")
