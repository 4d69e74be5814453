"""Low-rank weights for one network at a time, which a pipeline's class loads into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import read_adapter
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.network_switchboard import NetworkSwitchboard


class AdapterParts:
    """Methods of pipelines that load low-rank weights into a network that is given.

    The tensors are those that `lora_state_dict` returns, whose names begin with the component's,
    and so are their scales and what was noted of them.
    """

    @classmethod
    def load_lora_into_unet(
        cls,
        state_dict: Mapping[str, Tensor],
        network_alphas: Mapping[str, float] | None,
        unet: nn.Module,
        adapter_name: str | None = None,
        _pipeline: object = None,
        low_cpu_mem_usage: bool = False,
        hotswap: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Load what is for the UNet, and switch it on there.

        Args:
            state_dict: tensors by name.
            network_alphas: their scales by name.
            unet: the network.
            adapter_name: what to call them; `"default_0"` and so on by default.
            low_cpu_mem_usage: has no effect.
            hotswap: whether they take the place of the adapter of this name.
            metadata: settings of peft that say their scales.

        Raises:
            CheckpointError: there is nothing for it.
            ValueError: there is an adapter of this name, or there is none to be swapped.
        """
        scales = network_alphas, metadata
        _load(unet, "unet", state_dict, scales, adapter_name, hotswap=hotswap)

    @classmethod
    def load_lora_into_transformer(
        cls,
        state_dict: Mapping[str, Tensor],
        network_alphas: Mapping[str, float] | None,
        transformer: nn.Module,
        adapter_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        _pipeline: object = None,
        low_cpu_mem_usage: bool = False,
        hotswap: bool = False,
    ) -> None:
        """Load what is for the transformer, and switch it on there; see `load_lora_into_unet`."""
        part, scales = "transformer", (network_alphas, metadata)
        _load(transformer, part, state_dict, scales, adapter_name, hotswap=hotswap)

    @classmethod
    def load_lora_into_text_encoder(
        cls,
        state_dict: Mapping[str, Tensor],
        network_alphas: Mapping[str, float] | None,
        text_encoder: nn.Module,
        prefix: str | None = None,
        lora_scale: float = 1.0,
        adapter_name: str | None = None,
        _pipeline: object = None,
        low_cpu_mem_usage: bool = False,
        hotswap: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Load what is for a text encoder, and switch it on there; see `load_lora_into_unet`.

        Args:
            state_dict: tensors by name.
            network_alphas: their scales by name.
            text_encoder: the network.
            prefix: how names begin; `"text_encoder"` by default.
            lora_scale: has no effect: `set_adapters` weighs what is loaded.
            adapter_name: what to call them.
            low_cpu_mem_usage: has no effect.
            hotswap: whether they take the place of the adapter of this name.
            metadata: settings of peft that say their scales.
        """
        part, scales = prefix or "text_encoder", (network_alphas, metadata)
        _load(text_encoder, part, state_dict, scales, adapter_name, hotswap=hotswap)


def _load(
    network: nn.Module,
    part: str,
    tensors: Mapping[str, Tensor],
    scales: tuple[Mapping[str, float] | None, Mapping[str, Any] | None],
    adapter_name: str | None,
    *,
    hotswap: bool,
) -> None:
    """Load into a network what is for it."""
    switches = NetworkSwitchboard.of(network, part).adapters
    name = switches.name_for(adapter_name, in_place=hotswap)
    stored = read_adapter(tensors).with_scales(*scales).of_part(part, part)
    with attachment_of(network).suspended():
        changes = parse_adapter(stored, {part: network})
    switches.load(name, changes[part], in_place=hotswap)
