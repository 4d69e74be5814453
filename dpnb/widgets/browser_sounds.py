"""Sounds in the format in which a browser plays them."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
from torch import Tensor

LOUDEST = 32_767


def encode_wave(sound: Any, rate: int) -> bytes:
    """A WAV file of 16 bits.

    Args:
        sound: an array or a tensor of numbers in [-1, 1], `[samples]` or `[channels, samples]`.
        rate: samples in one second.
    """
    numbers = sound.detach().float().cpu().numpy() if isinstance(sound, Tensor) else sound
    channels = np.atleast_2d(np.asarray(numbers, dtype=np.float32))
    levels = (channels.clip(-1, 1) * LOUDEST).astype("<i2")
    file = io.BytesIO()
    with wave.Wave_write(file) as written:
        written.setnchannels(len(levels))
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(levels.T.tobytes())
    return file.getvalue()
