"""The base of all schedulers: a configuration, a schedule of timesteps, and a step along it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self, override

from dpnb.devices import Device, upload
from dpnb.generators import Generators
from dpnb.numbers import parse_int
from dpnb.output import Output
from dpnb.schedulers.config import BaseSchedulerConfig
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.storage import StoredScheduler
from dpnb.switchboard import Attachable

Timestep: TypeAlias = Tensor | float
"""An entry of `Scheduler.timesteps`, or its value."""


@dataclass(eq=False)
class SchedulerOutput(Output):
    """What `Scheduler.step` returns.

    Args:
        prev_sample: the next sample.
        pred_original_sample: the predicted sample without noise, where the method computes one.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor | None = None

    @override
    def as_asked(self, return_dict: bool) -> Self:
        """Itself, or with `return_dict=False` a plain tuple of what there is."""
        plain: Any = self.to_tuple()
        return self if return_dict else plain


class Scheduler(StoredScheduler, Attachable, ABC):
    """Removes noise from a sample: `set_timesteps`, then one `step` for each entry of `timesteps`.

    No step waits for a device: the coefficients are Python numbers, made by `set_timesteps`. The
    place in the schedule is looked up once, at the first step (see `index_for_timestep`), or is
    `begin_index` if that was set; from then on steps are counted, and the argument `timestep` is
    not read. Subclasses say where they differ.

    Tables and noise levels, such as `alphas_cumprod` and `sigmas`, and `timesteps` may be changed
    or replaced; the coefficients are then made anew.

    Attributes:
        timesteps: the timesteps of the run, in order, `[n]`; before a run, all those of training.
        num_inference_steps: the length of the run, or None before `set_timesteps`.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = BaseSchedulerConfig
    order: ClassVar[int] = 1
    """Model evaluations, and entries of `timesteps`, for each step of the method."""

    needs_set_timesteps: ClassVar[bool] = True
    """Whether a step is refused before `set_timesteps`; else the run is that of training."""

    config: BaseSchedulerConfig
    timesteps: Tensor
    set_timesteps: Callable[..., None]
    """Set the timesteps of a run; the number of steps is the first argument."""
    _step_index: int | None
    _begin_index: int | None
    _given_noise_sigma: float | None = None

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.num_inference_steps: int | None = None

    @property
    def init_noise_sigma(self) -> float:
        """The standard deviation of the noise that a run starts from; it may be set."""
        given = self._given_noise_sigma
        return self._find_noise_sigma() if given is None else given

    @init_noise_sigma.setter
    def init_noise_sigma(self, sigma: float) -> None:
        self._given_noise_sigma = sigma

    def _find_noise_sigma(self) -> float:
        return 1.0

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """`sample` scaled as the model expects it at `timestep`; most schedulers change nothing."""
        return sample

    @abstractmethod
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        *,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """The sample at the next entry of `timesteps`.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            timestep: the entry of `timesteps` that the model was asked about.
            sample: the noisy sample.
            generator: the source of noise, where the method adds some; see `noise.randn`.
            return_dict: `False` returns a plain tuple of what there is.

        Raises:
            ValueError: before `set_timesteps` where the class needs it, after the last step, or off
                the schedule.
        """

    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor | None:
        """The sample without noise that `model_output` means, before `step` is called with it.

        It is limited as the method limits it. The scheduler stays as it is, so that the step is the
        same whether somebody has asked for this or not.

        Args:
            model_output: what `step` is given next.
            timestep: likewise.
            sample: likewise.

        Returns:
            Of the shape of `sample`; `None` where the class does not say.

        Raises:
            ValueError: as of `step`.
        """
        return None

    @property
    def step_index(self) -> int | None:
        """The index of the next step in `timesteps`, or None before the first step."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """The index in `timesteps` where the run begins, or None if it was not set."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this entry of `timesteps`; the first timestep is then not looked up."""
        self._begin_index = parse_int("begin_index", begin_index, least=0)

    def index_for_timestep(
        self, timestep: Timestep, schedule_timesteps: Tensor | None = None
    ) -> int:
        """The index of `timestep` in the schedule, or in another one.

        If it is there twice, the second: there a step begins, and at the first another ends. At
        the beginning of the schedule it is the first.

        The index of a view into `timesteps`, as iterating gives, is read off its memory offset.
        Other tensors are read, which waits for their device.

        Args:
            timestep: to be found.
            schedule_timesteps: the timesteps of another schedule, `[n]`.

        Raises:
            ValueError: the schedule has no such entry.
        """
        if schedule_timesteps is not None and schedule_timesteps is not self.timesteps:
            return _find(float(timestep), schedule_timesteps.tolist())
        if isinstance(timestep, Tensor):
            place = self._place_of(timestep)
            if place is not None:
                return place
            timestep = timestep.item()
        return _find(timestep, self._schedule)

    def number_of_timestep(self, timestep: Timestep) -> float:
        """`timestep` as a number; that of a view into `timesteps` is known, and others are read."""
        place = self._place_of(timestep) if isinstance(timestep, Tensor) else None
        return float(timestep) if place is None else self._schedule[place]

    def _indices_of(self, timesteps: Tensor) -> list[int]:
        """The index of each of `timesteps` `[batch]`: the current step's, once that is known."""
        if self._begin_index is None:
            return [self.index_for_timestep(t) for t in timesteps.reshape(-1).tolist()]
        place = self._begin_index if self._step_index is None else self._step_index
        return [place] * timesteps.numel()

    def _current_index(self, timestep: Timestep) -> int:
        """The index of the current step; `timestep` is read at the first step only."""
        self._step_index = self._find_index(timestep)
        return self._step_index

    def _find_index(self, timestep: Timestep) -> int:
        """As `_current_index`, and the scheduler stays as it is."""
        self._check_ready()
        index = self._begin_index if self._step_index is None else self._step_index
        index = self.index_for_timestep(timestep) if index is None else index
        if index >= len(self._schedule):
            raise ValueError(
                f"The run of {len(self._schedule)} steps is over; call set_timesteps for another."
            )
        return index

    def _timestep_value(self, timestep: Timestep) -> int:
        """`timestep` as a number, for schedulers whose steps may come in any order.

        Numbers, CPU tensors and views into `timesteps` are read; any other tensor is assumed to
        be the entry after that of the last step, so as not to wait for its device.
        """
        value, index = self._read_timestep(timestep)
        if index is not None:
            self._step_index = index + 1
        return value

    def _read_timestep(self, timestep: Timestep) -> tuple[int, int | None]:
        """As `_timestep_value`, and its index where it is not the number that is read."""
        self._check_ready()
        index = self._place_of(timestep) if isinstance(timestep, Tensor) else None
        if index is None and isinstance(timestep, Tensor) and timestep.device.type != "cpu":
            index = self._find_index(timestep)
        if index is None:
            return int(timestep), None
        return int(self._schedule[index]), index

    def _check_ready(self) -> None:
        if self.num_inference_steps is None and self.needs_set_timesteps:
            raise ValueError(
                f"{type(self).__name__} has no schedule yet: a step needs one. "
                "Call set_timesteps(num_inference_steps) first."
            )

    def _place_of(self, timestep: Tensor) -> int | None:
        """The index in `timesteps` of a view of one of its entries, of which nothing is read."""
        own = self.timesteps
        if timestep.untyped_storage()._cdata != own.untyped_storage()._cdata:
            return None
        offset = int(timestep.storage_offset() - own.storage_offset())
        place, rest = divmod(offset, own.stride(0) or 1)
        is_entry = timestep.numel() == 1 and rest == 0 and 0 <= place < len(own)
        return place if is_entry else None

    @derived_from("timesteps")
    def _schedule(self, timesteps: Tensor) -> list[float]:
        numbers: list[float] = timesteps.tolist()
        return numbers

    def _set_schedule(self, timesteps: Array, device: Device | None) -> None:
        self.timesteps = upload(torch.from_numpy(timesteps), device)
        self._schedule = timesteps.tolist()
        self._step_index = None
        self._begin_index = None


def _find(timestep: float, schedule: list[float]) -> int:
    try:
        first = schedule.index(timestep)
    except ValueError:
        raise ValueError(
            f"{timestep} is not a timestep of this run; pass an entry of scheduler.timesteps."
        ) from None
    is_twice = schedule[first + 1 : first + 2] == [timestep]
    return first + (first > 0 and is_twice)
