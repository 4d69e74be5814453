"""What a call takes that is chosen from files: pictures, films and sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from PIL import Image
from torch import Tensor

from dpnb.pipelines.call_arguments import ArgumentKind, CallArgument, find_frames_field
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.widgets.sound_uploads import read_sound
from dpnb.widgets.uploads import read_frames, read_picture, stack_frames

Media: TypeAlias = "Image.Image | list[Any] | Tensor"
File: TypeAlias = "tuple[str, bytes]"

KINDS = (
    ArgumentKind.PICTURE,
    ArgumentKind.PICTURES,
    ArgumentKind.VIDEO,
    ArgumentKind.SOUND,
)

HINTS: Mapping[ArgumentKind, str] = {
    ArgumentKind.PICTURES: "one or more pictures",
    ArgumentKind.VIDEO: "a GIF, WebP or several pictures",
    ArgumentKind.SOUND: "a WAV file",
}


@dataclass(frozen=True)
class MediaInput:
    """Something that is chosen from files.

    Args:
        given: its name in the call, and words for it.
        kind: what is chosen.
        may_be_several: whether pictures may be given in a list.
        is_always_list: whether they must, one alone too.
        is_tensor: whether a film is given as numbers, `[1, channels, frames, height, width]`.
        is_batch: whether a sound is `[1, channels, samples]`, and not `[channels, samples]`.
        rate: samples of a sound in one second; `None` for those of the file.
        holder: the class of objects that hold frames, where one of them is given.
    """

    given: PictureInput
    kind: ArgumentKind = ArgumentKind.PICTURE
    may_be_several: bool = False
    is_always_list: bool = False
    is_tensor: bool = False
    is_batch: bool = False
    rate: int | None = None
    holder: type | None = None

    @classmethod
    def of(
        cls, argument: CallArgument, given: PictureInput | None = None, rate: int | None = None
    ) -> MediaInput:
        """That of an argument of a call.

        Args:
            argument: which one.
            given: words for it, where the pipeline has them.
            rate: of the sounds that the pipeline makes, where that is known.
        """
        name, hint = argument.name, HINTS.get(argument.kind, f"the argument {argument.name}")
        words = PictureInput(name, argument.label, hint, "mask" in name, not argument.is_required)
        return cls(
            given or words,
            argument.kind,
            argument.kind is ArgumentKind.VIDEO or argument.takes_lists or bool(argument.holder),
            argument.takes_lists_alone,
            argument.kind is ArgumentKind.VIDEO and argument.takes_tensors_alone,
            "batch" in argument.documentation.text,
            rate,
            argument.holder,
        )

    @property
    def accept(self) -> str:
        """The files that a browser offers."""
        return ".wav,audio/wav" if self.kind is ArgumentKind.SOUND else "image/*"

    def read(self, files: Sequence[File]) -> Media:
        """What the call is given of files, each its name and its content.

        Raises:
            UploadError: one cannot be read.
        """
        if self.kind is ArgumentKind.SOUND:
            name, content = files[0]
            sound = read_sound(content, name, self.rate)
            return sound[None] if self.is_batch else sound
        if self._takes_frames:
            frames = [frame for name, content in files for frame in read_frames(content, name)]
            if self.holder is not None:
                return [self.holder(**{self._frames_name: frames})]
            return stack_frames(frames, self._mode) if self.is_tensor else frames
        pictures = [read_picture(content, name) for name, content in files]
        return pictures if self.is_always_list or len(pictures) > 1 else pictures[0]

    def write(self, names: Sequence[str]) -> str:
        """Python that reads the same from files of these names."""
        if self.kind is ArgumentKind.SOUND:
            load = f"load_sound({names[0]!r}, {self.rate})"
            return f"{load}[None]" if self.is_batch else load
        if self._takes_frames:
            load = f"load_frames({', '.join(map(repr, names))})"
            if self.holder is not None:
                return f"[{self.holder.__name__}({self._frames_name}={load})]"
            return f"stack_frames({load}, {self._mode!r})" if self.is_tensor else load
        loads = [f"load_picture({name!r})" for name in names]
        is_list = self.is_always_list or len(loads) > 1
        return f"[{', '.join(loads)}]" if is_list else loads[0]

    @property
    def _takes_frames(self) -> bool:
        return self.kind is ArgumentKind.VIDEO or self.holder is not None

    @property
    def _frames_name(self) -> str:
        return (find_frames_field(self.holder) if self.holder is not None else None) or "frames"

    @property
    def _mode(self) -> str:
        return "L" if self.given.is_mask else "RGB"


def is_media(value: Any) -> bool:
    """Whether a value is what can be chosen from files: a picture, pictures or numbers."""
    if isinstance(value, (list, tuple)) and value:
        return all(isinstance(one, Image.Image) or _holds_frames(one) for one in value)
    return isinstance(value, (Image.Image, Tensor))


def _holds_frames(value: Any) -> bool:
    return find_frames_field(type(value)) is not None
