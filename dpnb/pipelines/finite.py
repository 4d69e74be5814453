"""The check that a run makes no NaN and no infinity, which does not wait for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from dpnb.errors import NonFiniteError
from dpnb.pipelines.protocols import ComputingPipeline
from dpnb.stages import Stage, Step


@dataclass(frozen=True, eq=False)
class HostCopy:
    """A copy of a tensor on the host, complete or still on its way.

    Args:
        values: on the host; they count once they are there.
        is_there: whether they are, at once.
        wait: until they are.
    """

    values: Tensor
    is_there: Callable[[], bool]
    wait: Callable[[], object]


def copy_to_host(tensor: Tensor) -> HostCopy:
    """Begin to copy a tensor to the host, without waiting for it."""
    if tensor.device.type != "cuda":
        return HostCopy(tensor, lambda: tensor.device.type == "cpu", lambda: None)
    values = tensor.to("cpu", non_blocking=True)
    event = torch.cuda.current_stream(tensor.device).record_event()
    return HostCopy(values, event.query, event.synchronize)


class Finiteness:
    """Notes what a run makes, and says where NaN or infinity have begun.

    A device is not waited for: what it has made is looked at once it has arrived on the host, a
    step later or so, and all of it in the end.

    Args:
        pipe: that runs.
        pictures: how many it draws.
        copy: copies a tensor to the host.
    """

    def __init__(
        self,
        pipe: ComputingPipeline,
        pictures: int,
        copy: Callable[[Tensor], HostCopy] = copy_to_host,
    ) -> None:
        self._pipe, self._pictures, self._copy = pipe, pictures, copy
        self._noted: deque[tuple[Step, HostCopy]] = deque()

    def note(self, step: Step, *made: Tensor) -> None:
        """Look at what a step has made, and at what has arrived of steps before.

        Args:
            step: which one.
            made: tensors with an entry for each picture, or several times over.

        Raises:
            NonFiniteError: some of it is NaN or infinite.
        """
        place = Step(step.stage, step.index, step.total)
        if self._pipe.computes_values:
            self._noted += [(place, self._copy(_largest(t))) for t in made if t.is_floating_point()]
        while self._noted and self._noted[0][1].is_there():
            self._look(*self._noted.popleft())

    def settle(self) -> None:
        """Wait for what was noted.

        Raises:
            NonFiniteError: some of it is NaN or infinite.
        """
        while self._noted:
            self._noted[0][1].wait()
            self._look(*self._noted.popleft())

    def _look(self, step: Step, copy: HostCopy) -> None:
        is_finite = copy.values.isfinite()
        if not is_finite.all():
            entries = (~is_finite).nonzero().flatten().tolist()
            bad = tuple(sorted({entry % self._pictures for entry in entries}))
            raise _error(self._pipe, step, bad, self._pictures)


def _largest(tensor: Tensor) -> Tensor:
    """The largest absolute number of each entry; NaN where there is one."""
    axes = tuple(range(1, tensor.ndim))
    return torch.linalg.vector_norm(tensor, ord=inf, dim=axes) if axes else tensor.abs()


def _error(
    pipe: ComputingPipeline, step: Step, bad: tuple[int, ...], pictures: int
) -> NonFiniteError:
    which = ""
    if pictures > 1:
        numbers = ", ".join(str(index + 1) for index in bad)
        which = f" for picture {numbers} of {pictures}"
    sentence = f"{_doing(step)} gave NaN or infinity{which}. {_remedy(pipe, step.stage)}"
    number = step.index + 1 if step.stage is Stage.DENOISING else None
    return NonFiniteError(sentence, step.stage, number, bad)


def _doing(step: Step) -> str:
    return {
        Stage.TEXT: "Encoding the prompt",
        Stage.ENCODING: "Encoding the picture",
        Stage.DENOISING: f"Denoising step {step.index + 1} of {step.total}",
        Stage.DECODING: "Decoding the picture",
    }[step.stage]


def _remedy(pipe: ComputingPipeline, stage: Stage) -> str:
    parts = _parts_of(pipe, stage)
    half = [name for name, part in parts.items() if _computes_in(pipe, part) == torch.float16]
    if not half:
        beside = ", and the scheduler's settings" if stage is Stage.DENOISING else ""
        return (
            f"Float16 is not the reason; check the weights of {' and '.join(parts)} and of adapters"
            f"{beside}."
        )
    reason = f"{' and '.join(half)} computed in float16, whose numbers end at 65504"
    if stage in (Stage.ENCODING, Stage.DECODING):
        return f"{reason}; let it compute in float32, with pipe.{half[0]}.to(torch.float32)."
    return f"{reason}; use bfloat16, with pipe.to(torch.bfloat16), or load in it or float32."


def _parts_of(pipe: ComputingPipeline, stage: Stage) -> dict[str, nn.Module]:
    """The networks that compute in a stage, by name."""
    *encoders, denoiser, autoencoder = pipe.offload_sequence
    names = {Stage.TEXT: encoders, Stage.DENOISING: [denoiser]}.get(stage, [autoencoder])
    parts = pipe.parts()
    return {name: parts[name] for name in names if isinstance(parts.get(name), nn.Module)}


def _computes_in(pipe: ComputingPipeline, part: nn.Module) -> torch.dtype | None:
    """The dtype of its first weight that is wider than one byte, where it is not widened."""
    if part is pipe.vae and pipe.is_vae_upcast:
        return torch.float32
    wide = (p for p in part.parameters() if p.is_floating_point() and p.element_size() > 1)
    return next((p.dtype for p in wide), None)
