"""Small pipelines of diffusers with random weights, as the owners of their networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from transformers import CLIPTextConfig, CLIPTextModel

from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import read_adapter
from dpnb.loading.hub import HubOptions
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.stack import StrategyStack

LINK = "simulated:64GiB/s"


class ForeignOwner:
    """A pipeline of diffusers, as far as strategies know it.

    Args:
        pipe: the pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def parts(self) -> Mapping[str, Any]:
        """Its components by name."""
        components: Mapping[str, Any] = self.pipe.components
        return components

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """In the order in which it says that they are used."""
        return tuple((self.pipe.model_cpu_offload_seq or "").split("->"))

    @property
    def never_offloaded(self) -> tuple[str, ...]:
        """What it excludes by itself."""
        return tuple(self.pipe._exclude_from_cpu_offload)


class Parts:
    """Components by themselves, as an owner has them."""

    offload_sequence: tuple[str, ...] = ()
    never_offloaded: tuple[str, ...] = ()

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def parts(self) -> Mapping[str, Any]:
        """Its components by name."""
        return self._parts


class PartsStack(StrategyStack):
    """What is switched on at components by themselves, which it keeps."""

    def __init__(self, **parts: Any) -> None:
        self.owner = Parts(**parts)
        super().__init__(self.owner)


class Studio:
    """A foreign pipeline with the strategies that are on at it, and a short call.

    Args:
        pipe: the pipeline.
        arguments: makes those of a short call anew.
    """

    def __init__(self, pipe: Any, arguments: Callable[[], dict[str, Any]]) -> None:
        self.pipe = pipe
        self.owner = ForeignOwner(pipe)
        self.strategies = StrategyStack(self.owner)
        self.dtype = torch.float32
        self._arguments = arguments
        pipe.set_progress_bar_config(disable=True)
        # What it would find by looking at weights, which may be elsewhere.
        device = property(lambda _: self.strategies.execution_device)
        answers = {"_execution_device": device, "device": device}
        pipe.__class__ = type(type(pipe).__name__, (type(pipe),), answers)

    def cast(self, dtype: torch.dtype) -> None:
        """Let all networks, and what a call is given, be of this dtype."""
        self.dtype = dtype
        for network in self.networks.values():
            network.to(dtype)

    def draw(self, output_type: str = "pt") -> Tensor:
        """The numbers of the picture, of the frames or of the latents."""
        with torch.no_grad(), self.strategies.begin_run():
            arguments = tree_map_only(Tensor, lambda t: t.to(self.dtype), self._arguments())
            given = {"output_type": output_type, "num_inference_steps": 2} | arguments
            out = self.pipe(generator=torch.Generator().manual_seed(0), **given)
        made: Tensor = next(iter(out.values()))
        return made if isinstance(made, Tensor) else torch.stack(list(made))

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Its components that have weights, by name."""
        return dict(self.strategies.networks.items())

    def values(self) -> dict[str, Tensor]:
        """A copy of every weight, by component and key."""
        return {
            f"{name}.{key}": value.clone()
            for name, network in self.strategies.networks.items()
            for key, value in network.state_dict().items()
        }


def randomize(network: nn.Module, seed: int = 0) -> Any:
    """The network with small random values in all its parameters; norms stay near one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        is_scale = parameter.ndim == 1 and name.endswith("weight")
        noise = torch.randn(parameter.shape, generator=generator) * 0.08
        parameter.data = (noise + (1.0 if is_scale else 0.0)).to(parameter.dtype)
    return network.eval().requires_grad_(False)


def autoencoder(latents: int = 4, **settings: Any) -> Any:
    """A small AutoencoderKL that halves each side."""
    return randomize(
        diffusers.AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=latents,
            norm_num_groups=8,
            sample_size=32,
            **settings,
        )
    )


def unet() -> Any:
    """A small UNet with cross-attention."""
    return randomize(
        diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        )
    )


def clip() -> Any:
    """A small CLIP text encoder."""
    config = CLIPTextConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    return randomize(CLIPTextModel(config))


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers, always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stable_diffusion() -> Studio:
    """Stable Diffusion, given the prompt's embeddings."""
    pipe = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip(),
        tokenizer=None,
        unet=unet(),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    tokens = torch.arange(8)[None]
    return Studio(
        pipe,
        lambda: {
            "prompt_embeds": pipe.text_encoder(tokens)[0],
            "negative_prompt_embeds": pipe.text_encoder(tokens.flip(1))[0],
            "height": 32,
            "width": 32,
        },
    )


def flux() -> Studio:
    """FLUX, given the prompt's embeddings."""
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    pipe = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, shift_factor=0.1),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=randomize(transformer),
    )
    return Studio(
        pipe,
        lambda: {
            "prompt_embeds": noise(1, 8, 32),
            "pooled_prompt_embeds": noise(1, 32),
            "height": 32,
            "width": 32,
        },
    )


def z_image() -> Studio:
    """Z-Image, given the prompt's embeddings; its code asks for the dtype of weights."""
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=64,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=4,
        n_kv_heads=4,
        cap_feat_dim=32,
        axes_dims=[4, 6, 6],
        axes_lens=[64, 64, 64],
    )
    pipe = diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, shift_factor=0.1),
        text_encoder=None,
        tokenizer=None,
        transformer=randomize(transformer),
    )
    return Studio(
        pipe,
        lambda: {
            "prompt_embeds": [noise(8, 32)],
            "guidance_scale": 0.0,
            "height": 32,
            "width": 32,
        },
    )


def wan() -> Studio:
    """Wan, given the prompt's embeddings: video, convolutions over time, float32 islands."""
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        text_dim=32,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
        rope_max_seq_len=32,
    )
    vae = diffusers.AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    pipe = diffusers.WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=randomize(vae),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True
        ),
        transformer=randomize(transformer),
    )
    return Studio(
        pipe,
        lambda: {
            "prompt_embeds": noise(1, 8, 32),
            "negative_prompt_embeds": noise(1, 8, 32, seed=2),
            "height": 32,
            "width": 32,
            "num_frames": 5,
        },
    )


STUDIOS: dict[str, Callable[[], Studio]] = {
    "Stable Diffusion": stable_diffusion,
    "FLUX": flux,
    "Z-Image": z_image,
    "Wan": wan,
}
"""Builders of all of them, by what people call them."""


def random_adapter(
    component: str, network: nn.Module, layers: tuple[str, ...], rank: int = 2
) -> dict[str, Tensor]:
    """Random low-rank weights of the layers whose names end so, as peft names them."""
    generator = torch.Generator().manual_seed(3)
    tensors: dict[str, Tensor] = {}
    for name, layer in network.named_modules():
        weight = layer._parameters.get("weight")
        if weight is not None and weight.ndim > 1 and name.endswith(layers):
            shapes = {"lora_A": (rank, *weight.shape[1:]), "lora_B": (len(weight), rank)}
            for part, shape in shapes.items():
                whole = (*shape, *(1 for _ in weight.shape[2:])) if part == "lora_B" else shape
                values = torch.randn(whole, generator=generator) * 0.15
                tensors[f"{component}.{name}.{part}.weight"] = values
    return tensors


def load_adapter(studio: Studio, tensors: Mapping[str, Tensor], name: str = "style") -> None:
    """Let the networks of a pipeline know an adapter, which is not switched on yet."""
    adapter = read_adapter(tensors, None, None, HubOptions())
    for component, changes in parse_adapter(adapter, studio.networks).items():
        attachment_of(studio.networks[component]).adapters[name] = changes
