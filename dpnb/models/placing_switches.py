"""What may be asked of a network about where its weights are, and in which dtype they wait."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import torch

from dpnb.switchboard import Switchboards

NO_GROUPS = (
    "Blocks of weights stream to the device for a whole pipeline; call its "
    "enable_group_offload(...), or use dpnb.SequentialOffload()."
)

NO_PARALLELISM = "Networks are divided among devices by dpnb.DeviceMap, which a pipeline uses."


class PlacingSwitches:
    """What places and stores the weights of one network."""

    part_name: ClassVar[str] = "unet"
    """The name of the component that the network is in a pipeline."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that it computes in."""
        raise NotImplementedError

    def enable_layerwise_casting(
        self,
        storage_dtype: torch.dtype | str = "float8_e4m3fn",
        compute_dtype: torch.dtype | None = None,
        skip_modules_pattern: None = None,
        skip_modules_classes: None = None,
        non_blocking: bool = False,
    ) -> None:
        """See `dpnb.LayerwiseCasting`; the pipeline's other networks stay as they are.

        Args:
            storage_dtype: in which weights wait.
            compute_dtype: in which layers compute; that of the network, which it has already.
            skip_modules_pattern: must be `None`: the strategy knows which layers to leave.
            skip_modules_classes: likewise.
            non_blocking: has no effect.

        Raises:
            ValueError: layers are to compute in another dtype, or are named.
        """
        if compute_dtype not in (None, self.dtype):
            raise ValueError(
                f"compute_dtype is {compute_dtype}, and this network computes in {self.dtype}; "
                f"call to({compute_dtype}) before."
            )
        if skip_modules_pattern is not None or skip_modules_classes is not None:
            raise ValueError(
                "skip_modules_pattern and skip_modules_classes have no effect: first and last "
                "layers, norms and biases keep their dtype; leave them out."
            )
        name = str(storage_dtype).removeprefix("torch.")
        Switchboards.make(self, self.part_name).store_small(name)

    def enable_group_offload(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_GROUPS)

    def enable_parallelism(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_PARALLELISM)
