"""Sounds from files that anybody may have made."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dpnb.widgets.uploads import UploadError

WIDEST = 4
"""Bytes of a sample."""


def read_sound(content: bytes, name: str, rate: int | None = None) -> Tensor:
    """The samples in a WAV file, in [-1, 1]: `[channels, samples]`.

    Args:
        content: of the file: whole numbers of 8, 16, 24 or 32 bits.
        name: of the file.
        rate: samples in one second that are wanted, between which is interpolated; by default those
            of the file.

    Raises:
        UploadError: it is no sound that can be read, or an empty one.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, own = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    # The reader meets broken files with whatever error comes first.
    except Exception as error:
        raise UploadError(
            f"{name} is no sound that can be read; choose a WAV file of whole numbers (PCM)."
        ) from error
    samples = _levels(data, width)
    samples = samples[: len(samples) // channels * channels]
    if len(samples) == 0 or own <= 0:
        raise UploadError(f"{name} holds no sound; choose another WAV file.")
    sound = torch.from_numpy(samples.reshape(-1, channels).T.copy())
    if rate is None or rate == own:
        return sound
    length = max(round(sound.shape[1] * rate / own), 1)
    return F.interpolate(sound[None], size=length, mode="linear")[0]


def load_sound(file: str | Path, rate: int | None = None) -> Tensor:
    """The sound in a file on this machine; see `read_sound`."""
    return read_sound(Path(file).read_bytes(), Path(file).name, rate)


def _levels(data: bytes, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Samples in [-1, 1]; those of one byte alone are counted from 0."""
    whole = np.frombuffer(data[: len(data) // width * width], dtype=np.uint8).reshape(-1, width)
    if width == 1:
        low: np.ndarray[Any, np.dtype[np.float32]] = whole[:, 0] / np.float32(128) - np.float32(1)
        return low
    padded = np.zeros((len(whole), WIDEST), dtype=np.uint8)
    padded[:, WIDEST - width :] = whole
    numbers = padded.reshape(-1).view(np.dtype("<i4"))
    levels: np.ndarray[Any, np.dtype[np.float32]] = numbers / np.float64(1 << 31)
    return levels.astype(np.float32)
