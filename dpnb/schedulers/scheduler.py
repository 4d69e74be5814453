"""What every scheduler is: a configuration, a schedule of timesteps, and a step along it."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from dpnb.devices import Device
from dpnb.generators import Generators
from dpnb.loading.config import Configured
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig, check_descending, check_steps
from dpnb.schedulers.spacing import Array, spaced

Timestep: TypeAlias = Tensor | float
"""An entry of `Scheduler.timesteps`, or its value."""


class SchedulerOutput(NamedTuple):
    """What a step gives; a tuple whose first entry is the sample to go on with.

    `pred_original_sample` is the noiseless sample that the step foresees, where the method
    computes one.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor | None = None


class Scheduler(Configured, ABC):
    """A way down from noise: `set_timesteps`, then one `step` per entry of `timesteps`.

    No step waits for a device: the coefficients are host numbers, made by `set_timesteps`. Where
    a step stands in the schedule is found once, at the first step (see `index_for_timestep`), or
    is `begin_index` where that was set; from then on steps are counted, and what is given as
    `timestep` is not looked at. Subclasses say where they differ.

    Attributes:
        timesteps: the timesteps of the run, in order, `[n]`; all of training's, at first.
        alphas_cumprod: the share of signal variance after each training step, `[T]`, on the CPU.
        num_inference_steps: the length of the run, or None before `set_timesteps`.
    """

    config_class: ClassVar[type[SchedulerConfig]] = SchedulerConfig
    config_name: ClassVar[str] = "scheduler_config.json"
    order: ClassVar[int] = 1
    """Model evaluations, and entries of `timesteps`, per step down."""

    accepts: ClassVar[frozenset[str]] = frozenset()
    """What `set_timesteps` takes instead of a number of steps: `"timesteps"`, `"sigmas"`."""

    config: SchedulerConfig
    timesteps: Tensor
    _schedule: list[float]
    _step_index: int | None
    _begin_index: int | None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.betas = self._betas()
        self.alphas = 1.0 - self.betas
        self.alphas_cumprod = torch.cumprod(self.alphas, dim=0)
        self._alpha_bar_table = self.alphas_cumprod.numpy()
        self.num_inference_steps: int | None = None
        self._lay_out(np.arange(len(self))[::-1].copy(), None)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, subfolder: str | None = None, **changes: Any
    ) -> Self:
        """Build from the `scheduler_config.json` in `folder`, or in its `subfolder`.

        The file may be another scheduler's: what this class does not know is kept for the way
        back. `changes` override what the file says.

        Raises:
            CheckpointError: there is no such file, or it is damaged.
        """
        place = Path(folder) / subfolder if subfolder else Path(folder)
        return cls.from_config(cls.load_config(place), **changes)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `scheduler_config.json` into `folder`, which is made if need be."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.save_config(folder)

    @property
    def compatibles(self) -> list[type[Scheduler]]:
        """The classes that `from_config` can build from this configuration."""
        package = importlib.import_module(__package__ or "dpnb.schedulers")
        names: tuple[str, ...] = package.INTERCHANGEABLE
        is_one = type(self).__name__ in names
        return [getattr(package, name) for name in names] if is_one else [type(self)]

    @property
    def init_noise_sigma(self) -> float:
        """The standard deviation of the noise that a run starts from."""
        return 1.0

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Lay out a run, and forget the former one.

        Args:
            num_inference_steps: the number of steps; exactly one of this, `timesteps` and `sigmas`.
            device: where `timesteps` will be.
            timesteps: the descending timesteps to visit, where the class `accepts` them.
            sigmas: the descending noise levels to visit, the final one included, likewise.

        Raises:
            ValueError: several of these, none, or values that make no schedule.
        """
        count = self._count(num_inference_steps, timesteps, sigmas)
        as_timesteps = None if timesteps is None else np.array(timesteps)
        as_sigmas = None if sigmas is None else np.array(sigmas, dtype=np.float32)
        planned = self._plan(count, as_timesteps, as_sigmas)
        self.num_inference_steps = len(planned) if as_timesteps is not None else count
        self._lay_out(planned, device)

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """`sample` as the model expects to see it at `timestep`; most schedulers change nothing."""
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
        """Take `sample` one entry of `timesteps` further down.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            timestep: the entry of `timesteps` that the model was asked about.
            sample: the noisy sample.
            generator: the source of noise, where the method adds some; see `noise.randn`.
            return_dict: what diffusers' callers pass; the result is a tuple either way.

        Raises:
            ValueError: before `set_timesteps`, after the last step, or off the schedule.
        """

    def _plan(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        """The timesteps of a run of `count` steps, in the dtype that `timesteps` shall have."""
        if timesteps is None:
            config = self.config
            timesteps = spaced(config.timestep_spacing, count, len(self), config.steps_offset)
        whole: Array = timesteps.round().astype(np.int64)
        return whole

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`original_samples` `[batch, ...]` as they stand at `timesteps` `[batch]` or `[]`.

        Ho et al. (2020), arXiv:2006.11239, eq. 4.
        """
        alpha, sigma = self._mixture(timesteps, original_samples)
        return alpha * original_samples + sigma * noise

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a `"v_prediction"` model should say of `sample` under `noise`, both `[batch, ...]`.

        Salimans & Ho (2022), arXiv:2202.00512, appendix D.
        """
        alpha, sigma = self._mixture(timesteps, sample)
        return alpha * noise - sigma * sample

    def foreseen(
        self, model_output: Tensor, sample: Tensor, timestep: Timestep
    ) -> tuple[Tensor, Tensor]:
        """The original and the noise in `sample` that `model_output` says, by `prediction_type`.

        Nothing is clipped.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            sample: original and noise, mixed as `add_noise` does.
            timestep: an entry of `timesteps`.
        """
        value = self._schedule[self.index_for_timestep(timestep)]
        alpha_bar = float(self._alpha_bar_table[int(value)])
        mixture = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        kind = self.config.prediction_type
        a, b = noise.original_weights(kind, *mixture)
        c, d = noise.noise_weights(kind, *mixture)
        original = noise.combine((a, sample), (b, model_output))
        return original, noise.combine((c, sample), (d, model_output))

    @property
    def step_index(self) -> int | None:
        """Where the run stands in `timesteps`, or None before it has begun."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Where the run begins in `timesteps`, where that was set."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this entry of `timesteps`, without looking for the first timestep."""
        self._begin_index = begin_index

    def index_for_timestep(self, timestep: Timestep) -> int:
        """The place of `timestep` in the schedule; of two equal entries the second.

        A view into `timesteps`, as iterating gives them, knows its place. Other tensors are read,
        which waits for their device.

        Raises:
            ValueError: the schedule has no such entry.
        """
        if isinstance(timestep, Tensor):
            if self._is_entry(timestep):
                return int(timestep.storage_offset())
            timestep = timestep.item()
        try:
            first = self._schedule.index(timestep)
        except ValueError:
            raise ValueError(
                f"{timestep} is not a timestep of this run; pass an entry of scheduler.timesteps."
            ) from None
        return first + (self._schedule[first + 1 : first + 2] == [timestep])

    def _indices(self, timesteps: Tensor) -> list[int]:
        """The place of each of `timesteps` `[batch]`: where the run stands, once that is known."""
        if self._begin_index is None:
            return [self.index_for_timestep(t) for t in timesteps.reshape(-1).tolist()]
        place = self._begin_index if self._step_index is None else self._step_index
        return [place] * timesteps.numel()

    def _current_index(self, timestep: Timestep) -> int:
        """Where the run stands; `timestep` matters at the first step alone."""
        self._check_ready()
        if self._step_index is None:
            given = self._begin_index
            self._step_index = self.index_for_timestep(timestep) if given is None else given
        if self._step_index >= len(self._schedule):
            raise ValueError(
                f"The run of {len(self._schedule)} steps is over; call set_timesteps for another."
            )
        return self._step_index

    def _value_of(self, timestep: Timestep) -> int:
        """`timestep` as a host number, in any order of steps.

        Numbers, CPU tensors and views into `timesteps` are taken at their word; any other tensor
        is taken for the entry after that of the last step, so as not to wait for its device.
        """
        self._check_ready()
        if isinstance(timestep, Tensor) and self._is_entry(timestep):
            index = int(timestep.storage_offset())
        elif isinstance(timestep, Tensor) and timestep.device.type != "cpu":
            index = self._current_index(timestep)
        else:
            return int(timestep)
        self._step_index = index + 1
        return int(self._schedule[index])

    def _check_ready(self) -> None:
        if self.num_inference_steps is None:
            raise ValueError(
                f"{type(self).__name__} has no schedule yet: a step needs one. "
                "Call set_timesteps(num_inference_steps) first."
            )

    def _is_entry(self, timestep: Tensor) -> bool:
        own = self._own_timesteps.untyped_storage()
        return timestep.untyped_storage()._cdata == own._cdata and timestep.numel() == 1

    def _lay_out(self, timesteps: Array, device: Device | None) -> None:
        self.timesteps = self._own_timesteps = torch.from_numpy(timesteps).to(device)
        self._schedule = timesteps.tolist()
        self._step_index = None
        self._begin_index = None

    def _count(
        self,
        num_inference_steps: int | None,
        timesteps: Sequence[int] | None,
        sigmas: Sequence[float] | None,
    ) -> int:
        """The number of steps asked for, with what was asked checked."""
        name = type(self).__name__
        asked = {
            "num_inference_steps": num_inference_steps,
            "timesteps": timesteps,
            "sigmas": sigmas,
        }
        given = [key for key, value in asked.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"set_timesteps was given {' and '.join(given) or 'nothing'}; it takes exactly one "
                "of num_inference_steps, timesteps and sigmas. Leave the others out."
            )
        if num_inference_steps is not None:
            return check_steps(num_inference_steps, len(self))
        if given[0] not in self.accepts:
            raise ValueError(
                f"{name} does not take custom {given[0]}; pass num_inference_steps instead."
            )
        if self.config.sigma_spacing and timesteps is not None:
            raise ValueError(
                f"{name} cannot take timesteps with use_{self.config.sigma_spacing}_sigmas, which "
                "chooses them; pass num_inference_steps, or switch it off."
            )
        if timesteps is not None:
            check_descending("timesteps", timesteps, len(self))
            return len(timesteps)
        check_descending("sigmas", sigmas or (), float("inf"))
        return len(sigmas or ()) - 1

    def _mixture(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise amplitudes at `timesteps`, shaped and placed to multiply `like`."""
        table = torch.from_numpy(self._alpha_bar_table)
        alpha_bars = table.to(timesteps.device)[timesteps.long()]
        alpha_bars = alpha_bars.to(like.device).view(-1, *[1] * (like.ndim - 1))
        return alpha_bars.sqrt().to(like.dtype), (1 - alpha_bars).sqrt().to(like.dtype)

    def _betas(self) -> Tensor:
        config = self.config
        if config.trained_betas is not None:
            betas = torch.tensor(config.trained_betas, dtype=torch.float32)
        else:
            betas = noise.betas(config.beta_schedule, config.beta_start, config.beta_end, len(self))
        is_rescaled = config.get("rescale_betas_zero_snr", False)
        return noise.rescale_zero_terminal_snr(betas) if is_rescaled else betas
