"""Which component is where, as a pipeline's users read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpnb.strategies.device_map import DeviceMap

if TYPE_CHECKING:
    from dpnb.pipelines.pipeline import DiffusionPipeline

_NAME = "_loaded_onto"


class PlacementRecord:
    """The attribute `hf_device_map`: component → device where a device map is active.

    It is `None` of a class, and of a pipeline without a device map.
    """

    def __get__(
        self, pipe: DiffusionPipeline | None, owner: type[DiffusionPipeline]
    ) -> dict[str, str] | None:
        if pipe is None:
            return None
        active = pipe.strategies.find(DeviceMap)
        if active is None:
            return vars(pipe).get(_NAME)
        return active.resolve_device_map(pipe.strategies.networks)

    def __set__(self, pipe: DiffusionPipeline, value: dict[str, str] | None) -> None:
        vars(pipe)[_NAME] = value
