"""Layers of peft in a network, for training low-rank weights.

What is loaded for drawing needs none of them: `load_lora_weights` of a pipeline folds it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from torch import nn

from dpnb.switchboard import STANDS_FOR

STANDING_IN = (
    "This network is dpnb's, which stands for another while what is switched on needs that; call "
    "it while nothing is on."
)

NO_ADAPTER = (
    "A network of dpnb's reads and writes no files of adapters; load them with "
    "pipe.load_lora_weights(...), and train with peft's layers, add_adapter(LoraConfig(...)), "
    "which save_lora_weights of the pipeline's class writes."
)


class NetworkAdapters(nn.Module):
    """A network that takes layers of peft."""

    def add_adapter(self, adapter_config: Any, adapter_name: str = "default") -> None:
        """Put peft's trainable layers beside those that the settings name.

        Args:
            adapter_config: a `peft.LoraConfig`.
            adapter_name: what to call them.

        Raises:
            NotImplementedError: the network stands for another while something is switched on.
            ValueError: there are layers of this name.
        """
        if STANDS_FOR in vars(self):
            raise NotImplementedError(STANDING_IN)
        from peft import inject_adapter_in_model

        if adapter_name in vars(self).get("peft_config", {}):
            raise ValueError(
                f"There is an adapter {adapter_name!r} already; choose another adapter_name."
            )
        inject_adapter_in_model(adapter_config, self, adapter_name)
        self.set_adapter(adapter_name)

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Let exactly these of peft's layers compute, and be trained.

        Raises:
            ValueError: there are none of this name.
        """
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        known = vars(self).get("peft_config", {})
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"There is no adapter {unknown[0]!r}; those that were added are "
                f"{', '.join(known) or 'none'}."
            )
        for layer in self._peft_layers():
            layer.set_adapter(names)

    def active_adapters(self) -> list[str]:
        """The names of peft's layers that compute."""
        return next((list(layer.active_adapters) for layer in self._peft_layers()), [])

    def disable_adapters(self) -> None:
        """Let peft's layers pass by."""
        for layer in self._peft_layers():
            layer.enable_adapters(enabled=False)

    def enable_adapters(self) -> None:
        """Let peft's layers compute again."""
        for layer in self._peft_layers():
            layer.enable_adapters(enabled=True)

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Remove these of peft's layers."""
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        for name in names:
            for layer in self._peft_layers():
                layer.delete_adapter(name)
            vars(self).get("peft_config", {}).pop(name, None)

    def load_lora_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(STANDING_IN if STANDS_FOR in vars(self) else NO_ADAPTER)

    def save_lora_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `load_lora_adapter`."""
        self.load_lora_adapter(*args, **kwargs)

    def _peft_layers(self) -> Iterator[Any]:
        if not vars(self).get("peft_config"):
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        yield from (layer for layer in self.modules() if isinstance(layer, BaseTunerLayer))
