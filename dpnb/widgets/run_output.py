"""What a run has brought, in the forms in which it is shown: pictures, animations, sounds, words.

Nothing here knows a pipeline: outputs are told apart by the names and the shapes of what they hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from dpnb.pipelines.pictures.images import numpy_to_pil
from dpnb.widgets.browser_images import encode_animation
from dpnb.widgets.browser_sounds import encode_wave
from dpnb.widgets.output_words import PICTURED, NumbersFile, describe_output, write_numbers

Video: TypeAlias = "tuple[Image.Image, ...]"

VIDEOS = frozenset({"frames", "videos", "video"})
SOUNDS = frozenset({"audios", "audio"})
"""What outputs call videos and sounds."""

STILLS = 3
"""Frames of a video that are kept as pictures: the first, the middle and the last one."""

SLACK = 0.01
"""By which a colour in [0, 1] may overshoot."""


@dataclass(frozen=True)
class Rates:
    """How fast videos and sounds are played.

    Args:
        frames: of a video, in one second.
        samples: of a sound, in one second.
    """

    frames: float = 8.0
    samples: int = 16_000


@dataclass(frozen=True, eq=False)
class RunOutput:
    """What a run has brought.

    Args:
        pictures: what it has drawn; of every video `STILLS` frames.
        animations: its videos, each a WebP or GIF file.
        sounds: each a WAV file.
        words: what else there is, for example `"latents, 1 × 4 × 8 × 8"`.
        numbers: of what else there is.
    """

    pictures: tuple[Image.Image, ...] = ()
    animations: tuple[bytes, ...] = ()
    sounds: tuple[bytes, ...] = ()
    words: str = ""
    numbers: tuple[NumbersFile, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pictures or self.sounds or self.words)

    @property
    def middles(self) -> tuple[Image.Image, ...]:
        """A picture for each entry of the batch: of a video the one in its middle."""
        return self.pictures[STILLS // 2 :: STILLS] if self.animations else self.pictures


def read_output(output: Any, rates: Rates) -> RunOutput:
    """What is shown of a pipeline's output."""
    found, words = RunOutput(), []
    numbers: list[NumbersFile] = []
    for name, value in _fields(output):
        if name in SOUNDS:
            found = replace(found, sounds=tuple(encode_wave(one, rates.samples) for one in value))
        elif videos := _read_videos(value, name in VIDEOS):
            found = _with_videos(found, videos, rates.frames)
        elif pictures := _read_pictures(value):
            found = replace(found, pictures=(*found.pictures, *pictures))
        elif said := describe_output(name, value):
            maps = None if name.endswith(("embeds", "latents")) else _read_maps(value)
            if maps is not None:
                found = _with_maps(found, maps, rates.frames)
                said = f"{name.replace('_', ' ')}: {maps.levels}"
            words.append(said)
            is_latents = maps is None and name in PICTURED
            numbers += write_numbers("latents" if is_latents else name, value)
    return replace(found, words="; ".join(words), numbers=tuple(numbers))


def _fields(output: Any) -> Iterator[tuple[str, Any]]:
    """The names and values of an output; of a plain tuple only the pictures at its beginning."""
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, tuple) and "_fields" in dir(output):
        yield from zip(output._fields, output, strict=True)  # type: ignore[attr-defined]
    elif isinstance(output, (tuple, list)):
        yield from [("images", one) for one in output[:1]]
    elif dataclasses.is_dataclass(output):
        yield from ((field.name, vars(output)[field.name]) for field in dataclasses.fields(output))
    elif output is not None:
        yield "images", output


def _with_videos(found: RunOutput, videos: list[Video], rate: float) -> RunOutput:
    stills = [one[round(place)] for one in videos for place in np.linspace(0, len(one) - 1, STILLS)]
    animations = tuple(encode_animation(one, rate) for one in videos)
    return replace(found, pictures=tuple(stills), animations=animations)


def _read_videos(value: Any, is_video: bool) -> list[Video]:
    """The videos in `value`; none where it holds something else.

    Args:
        value: lists of lists of pictures; arrays `[frames, height, width, channels]` in a list or
            an array; of tensors the channels come before height and width.
        is_video: whether pictures that are not in such lists are the frames of one.
    """
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(one, (list, tuple)) and len(one) > 1 for one in value):
            videos = [_read_pictures(one) for one in value]
            return videos if all(videos) else []
        if is_video and isinstance(value[0], Image.Image):
            return [_read_pictures(value)]
    numbers = _to_numbers(value)
    if numbers is None or numbers.ndim not in (4, 5) or (numbers.ndim == 4 and not is_video):
        return []
    clips = [_frames_of(one) for one in (numbers if numbers.ndim == 5 else [numbers])]
    videos = [_paint(clip) for clip in clips]
    return videos if all(videos) else []


def _frames_of(clip: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A tensor's channels may also stand before its frames: `[channels, height, width, frames]`."""
    comes_first = clip.shape[-1] not in (1, 3) and clip.shape[0] in (1, 3)
    return clip.transpose(3, 1, 2, 0) if comes_first else clip


def _read_pictures(value: Any) -> tuple[Image.Image, ...]:
    """The pictures in `value`; none where it holds something else."""
    if isinstance(value, Image.Image):
        return (value,)
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(one, Image.Image) for one in value):
            return tuple(value)
        if all(isinstance(one, (list, tuple)) for one in value):
            return tuple(picture for one in value for picture in _read_pictures(one))
    numbers = _to_numbers(value)
    return () if numbers is None or numbers.ndim != 4 else _paint(numbers)


@dataclass(frozen=True, eq=False)
class Maps:
    """Depths, normals and the like, spread over all colours.

    Args:
        spread: in [0, 1]: `[batch, height, width, channels]`, of videos with frames before height.
        low: the number that is shown dark.
        high: that which is shown bright.
    """

    spread: np.ndarray[Any, Any]
    low: float
    high: float

    @property
    def levels(self) -> str:
        """What the colours mean, and the size."""
        sizes = " × ".join(str(size) for size in self.spread.shape)
        return f"{sizes}, shown from {self.low:.3g} (dark) to {self.high:.3g} (bright)"


def _read_maps(value: Any) -> Maps | None:
    """Numbers that can be spread over colours; `None` where they have no such shape."""
    numbers, is_array = _to_numbers(value), isinstance(value, np.ndarray)
    if numbers is not None and numbers.ndim == 3 and is_array:
        numbers = numbers[..., None]
    if numbers is None or numbers.ndim not in ((4, 5) if is_array else (4,)):
        return None
    if numbers.shape[-1] not in (1, 3):
        return None
    if numbers.size == 0 or min(numbers.shape[-3:-1]) == 1 or not np.isfinite(numbers).all():
        return None
    low, high = float(numbers.min()), float(numbers.max())
    return Maps((numbers.astype(np.float32) - low) / ((high - low) or 1.0), low, high)


def _with_maps(found: RunOutput, maps: Maps, rate: float) -> RunOutput:
    if maps.spread.ndim == 5:
        return _with_videos(found, [_paint(one) for one in maps.spread], rate)
    return replace(found, pictures=(*found.pictures, *_paint(maps.spread)))


def _to_numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """Arrays, and tensors with their channels last; `None` where `value` is something else."""
    if isinstance(value, (list, tuple)) and value:
        several = [_to_numbers(one) for one in value]
        numbers = [one for one in several if one is not None]
        is_even = len(numbers) == len(several) and len({one.shape for one in numbers}) == 1
        return np.stack(numbers) if is_even else None
    if isinstance(value, Tensor):
        plain = value.detach().float().cpu().numpy()
        return np.moveaxis(plain, -3, -1) if plain.ndim >= 3 else plain
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else None


def _paint(batch: np.ndarray[Any, Any]) -> tuple[Image.Image, ...]:
    """Pictures of `[batch, height, width, channels]` colours; none where these are no colours."""
    if batch.size == 0 or batch.shape[-1] not in (1, 3, 4):
        return ()
    if batch.dtype == np.uint8:
        batch = batch / np.float32(255)
    if not (np.isfinite(batch).all() and batch.min() >= -SLACK and batch.max() <= 1 + SLACK):
        return ()
    return tuple(numpy_to_pil(batch.clip(0, 1)))
