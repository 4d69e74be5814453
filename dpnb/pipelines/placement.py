"""Where the networks of a pipeline are, in which dtype, and which are quantized."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from typing_extensions import Self

from dpnb.devices import available_device
from dpnb.nn.quantized import check_cast, quantization_of
from dpnb.pipelines.mixin import PipelineMixin
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.dtype_border import find_outer_dtype

logger = logging.getLogger(__name__)

_LOADED_ONTO = "_loaded_onto"


class HfDeviceMap:
    """The attribute `hf_device_map`: component → device where a device map is active.

    It is `None` of a class, and of a pipeline without a device map.
    """

    def __get__(self, pipe: Placement | None, owner: type[Placement]) -> dict[str, str] | None:
        if pipe is None:
            return None
        active = pipe.strategies.find(DeviceMap)
        if active is None:
            return vars(pipe).get(_LOADED_ONTO)
        return active.resolve_device_map(pipe.strategies.networks)

    def __set__(self, pipe: Placement, value: dict[str, str] | None) -> None:
        vars(pipe)[_LOADED_ONTO] = value


class Placement(PipelineMixin):
    """Moves the networks of a pipeline and casts them, and says where they are."""

    hf_device_map = HfDeviceMap()

    def reset_device_map(self) -> None:
        """Switch off a device map, and take everything to the CPU."""
        if self.hf_device_map is not None:
            self.strategies.disable(DeviceMap)
            self.hf_device_map = None
            self.to("cpu")

    @property
    def execution_device(self) -> torch.device:
        """Where a run computes."""
        return self.strategies.execution_device

    @property
    def _execution_device(self) -> torch.device:
        """The same, by the name that code written for diffusers asks for."""
        return self.execution_device

    @property
    def device(self) -> torch.device:
        """Where the pipeline is: the accelerator, if any component is there."""
        devices = [next(module.parameters()).device for module in self._modules().values()]
        away = (d for d in devices if d.type not in ("cpu", "meta"))
        return next(away, devices[0] if devices else torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the first network, by name, is called in."""
        floats = (
            find_outer_dtype(module) or p.dtype
            for module in self._modules().values()
            for p in module.parameters()
            if p.is_floating_point()
        )
        return next(floats, torch.float32)

    def to(
        self,
        *args: torch.device | torch.dtype | str | int | None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        silence_dtype_warnings: bool = False,
        torch_device: torch.device | str | int | None = None,
        torch_dtype: torch.dtype | None = None,
    ) -> Self:
        """Move all networks, cast them, or both.

        What is switched on stays on. While offloading is, it decides where a run computes; this is
        where the networks will be once it is switched off.

        Args:
            args: a device, a dtype, or a device and a dtype.
            device: the same by name.
            dtype: of floating-point weights.
            silence_dtype_warnings: do not warn of float16 on the CPU.
            torch_device: the same as `device`, by its former name.
            torch_dtype: the same as `dtype`, likewise.

        Returns:
            This pipeline.

        Raises:
            TypeError: an argument is neither a device nor a dtype.
            ValueError: one is given twice, or torch knows no such device.
            DeviceError: this machine does not have it.
            QuantizationError: it would cast quantized weights.
        """
        target, kind = _parse_to((*args, torch_device, torch_dtype), device, dtype)
        on_cpu = (target or self.device).type == "cpu"
        if kind == torch.float16 and on_cpu and not silence_dtype_warnings:
            logger.warning(
                "float16 is slow or unsupported on the CPU; bfloat16 runs there at full speed."
            )
        networks = self._modules()
        if (
            kind is None
            and target
            and self.strategies.move_after_offload(networks.values(), target)
        ):
            return self
        with self.strategies.suspended():
            for name, module in networks.items():
                check_cast(name, module, kind)
            self._move(target, kind)
        return self

    def _move(self, target: torch.device | None, kind: torch.dtype | None) -> None:
        moved: list[tuple[nn.Module, torch.device]] = []
        try:
            for module in self._modules().values():
                moved.append((module, next(module.parameters()).device))
                if quantization_of(module) is None:
                    module.to(device=target, dtype=kind)
                else:
                    module.to(target)
        except BaseException:
            for module, former in moved:
                module.to(former)
            raise

    def _modules(self) -> dict[str, nn.Module]:
        parts = sorted(self.components.items())
        return {
            name: part
            for name, part in parts
            if isinstance(part, nn.Module) and next(part.parameters(), None) is not None
        }


def describe_quantization(parts: Mapping[str, Any]) -> str:
    """The networks among `parts` that are quantized, as in `"unet int8, text_encoder fp8"`."""
    return ", ".join(
        f"{name} {kind}"
        for name, part in parts.items()
        if isinstance(part, nn.Module) and (kind := quantization_of(part)) is not None
    )


def _parse_to(
    args: tuple[Any, ...], device: Any, dtype: torch.dtype | None
) -> tuple[torch.device | None, torch.dtype | None]:
    given = [arg for arg in args if arg is not None]
    if len(given) > 2:
        raise ValueError(f"to() takes a device and a dtype, not {len(given)} arguments.")
    for arg in given:
        if isinstance(arg, torch.dtype):
            if dtype is not None:
                raise ValueError(f"to() was given two dtypes, {dtype} and {arg}; give one.")
            dtype = arg
        elif isinstance(arg, (torch.device, str, int)):
            if device is not None:
                raise ValueError(f"to() was given two devices, {device} and {arg}; give one.")
            device = arg
        else:
            raise TypeError(f"to() takes a device and a dtype, not {arg!r}.")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype is {dtype!r}; use a torch.dtype such as torch.float16.")
    return (None if device is None else available_device(device)), dtype
