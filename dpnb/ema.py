"""Averages of the parameters of a network in training, which are often better than the last ones.

Polyak & Juditsky (1992); with the warm-up of Katherine Crowson's k-diffusion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self

from dpnb.devices import Device
from dpnb.validation import Range, validate

Share: TypeAlias = Annotated[float, Range(0, 1)]

Steps: TypeAlias = Annotated[int, Range(0, 1 << 40)]

STATE: Mapping[str, Any] = {
    "decay": Share,
    "min_decay": Share,
    "optimization_step": Steps,
    "update_after_step": Steps,
    "use_ema_warmup": bool,
    "inv_gamma": float,
    "power": float,
}
"""What is stored beside the averages, and of which type it is."""


class EMAModel:
    """An exponential moving average of parameters, moved towards them by each `step`.

    The share of the past that a step keeps, the decay, rises from 0: after `n` steps that count it
    is `(1 + n) / (10 + n)`, or with `use_ema_warmup` `1 - (1 + n / inv_gamma) ** -power`. It stays
    between `min_decay` and `decay`.

    Args:
        parameters: of the network, in their order; the averages begin as copies of them.
        decay: the most of the past that a step keeps.
        min_decay: the least, once steps count.
        update_after_step: steps that only copy, but for one more.
        use_ema_warmup: raise the decay in the other of these ways.
        inv_gamma: of that way.
        power: of that way.
        foreach: move all averages by one call of torch's.
        model_cls: the class of the network, to store it.
        model_config: its settings, likewise.

    Attributes:
        shadow_params: the averages.
        cur_decay_value: the decay of the last step, `None` before it.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        decay: float = 0.9999,
        min_decay: float = 0.0,
        update_after_step: int = 0,
        use_ema_warmup: bool = False,
        inv_gamma: float = 1.0,
        power: float = 2 / 3,
        foreach: bool = False,
        model_cls: Any = None,
        model_config: Any = None,
    ) -> None:
        self.shadow_params = [parameter.detach().clone() for parameter in parameters]
        self.temp_stored_params: list[Tensor] | None = None
        self.decay, self.min_decay = decay, min_decay
        self.update_after_step, self.use_ema_warmup = update_after_step, use_ema_warmup
        self.inv_gamma, self.power = inv_gamma, power
        self.optimization_step = 0
        self.cur_decay_value: float | None = None
        self.foreach = foreach
        self.model_cls, self.model_config = model_cls, model_config

    @classmethod
    def from_pretrained(cls, path: Any, model_cls: Any, foreach: bool = False) -> Self:
        """The averages in a folder that `save_pretrained` wrote.

        Args:
            path: the folder.
            model_cls: the class of the network.
            foreach: as of the class.

        Raises:
            CheckpointError: there is no such network.
            ValueError: what is stored beside it is damaged.
        """
        settings = model_cls.load_config(path)
        model = model_cls.from_pretrained(path)
        averages = cls(
            model.parameters(), foreach=foreach, model_cls=model_cls, model_config=model.config
        )
        averages.load_state_dict({name: settings[name] for name in STATE if name in settings})
        return averages

    def save_pretrained(self, path: Any) -> None:
        """Write the averages into a folder, as a network with the state of this object.

        Raises:
            ValueError: this object was not told of which network they are.
        """
        if self.model_cls is None or self.model_config is None:
            raise ValueError(
                "EMAModel does not know which network its averages are of; build it with "
                "model_cls=type(network) and model_config=network.config."
            )
        model = self.model_cls.from_config(self.model_config)
        model.register_to_config(**{name: vars(self)[name] for name in STATE})
        self.copy_to(model.parameters())
        model.save_pretrained(path)

    def get_decay(self, optimization_step: int) -> float:
        """The share of the past that the step of this number, from 1, keeps."""
        count = optimization_step - self.update_after_step - 1
        if count <= 0:
            return 0.0
        if self.use_ema_warmup:
            share: float = 1 - (1 + count / self.inv_gamma) ** -self.power
        else:
            share = (1 + count) / (10 + count)
        return max(min(share, self.decay), self.min_decay)

    @torch.no_grad()
    def step(self, parameters: Iterable[Tensor]) -> None:
        """Move the averages towards `parameters`; of those that are not trained they are copies."""
        self.optimization_step += 1
        self.cur_decay_value = self.get_decay(self.optimization_step)
        pairs = self._pair(parameters)
        trained = [(average, new.to(average)) for average, new in pairs if new.requires_grad]
        share = 1 - self.cur_decay_value
        if self.foreach and trained:
            averages, news = zip(*trained, strict=True)
            torch._foreach_lerp_(averages, news, share)
        else:
            for average, new in trained:
                average.lerp_(new, share)
        for average, new in pairs:
            if not new.requires_grad:
                average.copy_(new)

    def copy_to(self, parameters: Iterable[Tensor]) -> None:
        """Set `parameters` to their averages."""
        for average, parameter in self._pair(parameters):
            parameter.data.copy_(average)

    def store(self, parameters: Iterable[Tensor]) -> None:
        """Keep copies of `parameters` on the CPU, for `restore` after `copy_to`."""
        self.temp_stored_params = [parameter.detach().cpu().clone() for parameter in parameters]

    def restore(self, parameters: Iterable[Tensor]) -> None:
        """Set `parameters` to the copies that `store` made, which are then dropped.

        Raises:
            RuntimeError: there are none.
        """
        if self.temp_stored_params is None:
            raise RuntimeError(
                "There are no parameters to restore; call store(parameters) before copy_to."
            )
        for kept, parameter in zip(self.temp_stored_params, parameters, strict=True):
            parameter.data.copy_(kept)
        self.temp_stored_params = None

    def to(
        self,
        device: Device | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> None:
        """Move the averages, and cast those that are floats."""
        self._change(
            lambda average: average.to(
                device=device,
                dtype=dtype if average.is_floating_point() else None,
                non_blocking=non_blocking,
            )
        )

    def pin_memory(self) -> None:
        """Move the averages into memory from which a GPU copies while it computes."""
        self._change(Tensor.pin_memory)

    def state_dict(self) -> dict[str, Any]:
        """The averages and what the next steps depend on; nothing is copied."""
        state = {name: vars(self)[name] for name in STATE}
        return {**state, "shadow_params": self.shadow_params}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take copies of what `state_dict` gave, or of a part of it.

        Raises:
            ValueError: something is not of its type.
        """
        state = {
            name: validate(kind, state_dict[name], name)
            for name, kind in STATE.items()
            if name in state_dict
        }
        averages = state_dict.get("shadow_params")
        if averages is not None:
            if not isinstance(averages, list) or not all(isinstance(a, Tensor) for a in averages):
                raise ValueError("shadow_params must be a list of tensors, as state_dict gives it.")
            state["shadow_params"] = [average.clone() for average in averages]
        vars(self).update(state)

    def _change(self, change: Callable[[Tensor], Tensor]) -> None:
        self.shadow_params = [change(average) for average in self.shadow_params]

    def _pair(self, parameters: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
        given = [*parameters]
        if len(given) != len(self.shadow_params):
            raise ValueError(
                f"There are {len(given)} parameters and averages of {len(self.shadow_params)}; "
                "give those of the same network, in the same order."
            )
        return [*zip(self.shadow_params, given, strict=True)]
