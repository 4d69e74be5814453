"""What community pipelines import besides classes of ours, in the form that they expect."""

from __future__ import annotations

import logging as standard_logging
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from packaging.version import Version
from PIL.Image import Resampling
from torch import Tensor, nn

from dpnb.generators import randn
from dpnb.loading.settings_files import FORMAT_VERSION
from dpnb.loading.weights.tensor_files import read_tensors
from dpnb.nn.weight_changes import NO_SCALE
from dpnb.pipelines.denoise import set_timesteps

logger = standard_logging.getLogger(__name__)

USE_PEFT_BACKEND = False

PIL_INTERPOLATION = {
    "bicubic": Resampling.BICUBIC,
    "bilinear": Resampling.BILINEAR,
    "lanczos": Resampling.LANCZOS,
    "linear": Resampling.BILINEAR,
    "nearest": Resampling.NEAREST,
}


PipelineImageInput = Any

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "diffusion_pytorch_model.bin"
SAFETENSORS_WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


class FrozenDict(dict[str, Any]):
    """Settings by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"there is no setting {name}; there are {', '.join(self)}.")
        return self[name]


KarrasDiffusionSchedulers = Enum(
    "KarrasDiffusionSchedulers",
    (
        "DDIMScheduler",
        "DDPMScheduler",
        "PNDMScheduler",
        "LMSDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",
    ),
)
"""The names of schedulers that pipelines of Stable Diffusion may exchange for one another."""


class StableDiffusionMixin:
    """Every pipeline of ours has these switches already."""


class Loras:
    """Every pipeline of ours loads low-rank weights already."""


class TextualInversions:
    """What loads textual inversions elsewhere."""

    def load_textual_inversion(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `refuse_adapters`."""
        refuse_adapters()

    def maybe_convert_prompt(self, prompt: Any, tokenizer: Any) -> Any:
        """`prompt` as it is: no token stands for several vectors."""
        return prompt


class ImagePrompts:
    """What loads image prompts elsewhere."""

    def load_ip_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `refuse_adapters`."""
        refuse_adapters()


class ImageProjection:
    """What projects image prompts elsewhere; nothing here is one."""


class Deprecated:
    """What marks pipelines elsewhere that will be taken out; none here is one."""


class Hook:
    """What caches hang on layers elsewhere; nothing here is one."""


class SingleFiles:
    """What loads checkpoints of one file elsewhere; here they are folders or DDUF files."""


def refuse_scale(*args: Any, **kwargs: Any) -> NoReturn:
    """Say where the scale of low-rank weights is set.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(f"This sets a scale for one call: {NO_SCALE}.")


def refuse_adapters(*args: Any, **kwargs: Any) -> NoReturn:
    """Say that there are no such adapters.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "dpnb loads no textual inversion or image prompt; merge the weights into the network, "
        "save it, and load that."
    )


def get_logger(name: str | None = None) -> standard_logging.Logger:
    """The standard library's logger of this name; for a module of diffusers, this package's.

    Files have other names here, so that what is said in any of them is said by that logger.
    """
    is_theirs = name is None or name.partition(".")[0] == "diffusers"
    return standard_logging.getLogger(__name__.partition(".")[0] if is_theirs else name)


logging = SimpleNamespace(get_logger=get_logger)


def deprecate(
    *notices: Any, take_from: Any = None, standard_warn: bool = True, stacklevel: int = 2
) -> Any:
    """Warn of former names that are still used, and take the values by them.

    Args:
        notices: name, release and text; or several such triples.
        take_from: a dictionary that may hold a value by the former name, or an object that may have
            such an attribute.
        standard_warn: begin the warning with the name and the release.
        stacklevel: whose line is shown, see `warnings.warn`.

    Returns:
        The values by the former names: `None`, one of them, or a tuple.

    Raises:
        ValueError: the release is out, and the name should be gone.
        TypeError: the dictionary holds other names as well.
    """
    triples = notices if isinstance(notices[0], tuple) else (notices,)
    values = []
    for name, release, text in triples:
        if Version(FORMAT_VERSION) >= Version(release):
            raise ValueError(
                f"{name} was to go with release {release}, and scripts are read as for "
                f"{FORMAT_VERSION}; take the call of deprecate out, and what it stands for."
            )
        if isinstance(take_from, dict):
            found = [take_from.pop(name)] if name in take_from else []
        else:
            found = [getattr(take_from, name)] if name in dir(take_from) else []
        values += found
        if found or take_from is None:
            begin = f"{_name_former(name, take_from)} is deprecated and will be removed in version "
            begin += f"{release}. "
            warnings.warn(
                f"{begin if standard_warn else ''}{text}", FutureWarning, stacklevel=stacklevel
            )
    if isinstance(take_from, dict) and take_from:
        raise TypeError(f"There is no argument {', '.join(map(str, take_from))}; leave it out.")
    return tuple(values) if len(values) > 1 else next(iter(values), None)


def _name_former(name: str, take_from: Any) -> str:
    if take_from is None:
        return f"`{name}`"
    return f"The `{name}` {'argument' if isinstance(take_from, dict) else 'attribute'}"


def replace_example_docstring(text: str) -> Callable[[Any], Any]:
    """A decorator that leaves a function as it is: examples serve documentation alone."""
    return lambda function: function


def randn_tensor(
    shape: Sequence[int],
    generator: Any = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    layout: torch.layout = torch.strided,
) -> Tensor:
    """Standard normal numbers; see `dpnb.generators.randn`."""
    drawn = randn(shape, generator=generator, device=device, dtype=dtype)
    return drawn if layout == torch.strided else drawn.to_sparse()


def retrieve_timesteps(
    scheduler: Any,
    num_inference_steps: int | None = None,
    device: torch.device | str | None = None,
    timesteps: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
    **settings: Any,
) -> tuple[Tensor, int]:
    """Prepare `scheduler` for a run; its timesteps, and how many steps these are."""
    if settings:
        given = {"timesteps": timesteps, "sigmas": sigmas}
        settings |= {name: value for name, value in given.items() if value is not None}
        count = num_inference_steps if timesteps is None and sigmas is None else None
        scheduler.set_timesteps(count, device=device, **settings)
        return scheduler.timesteps, len(scheduler.timesteps)
    place = torch.device("cpu" if device is None else device)
    return set_timesteps(scheduler, num_inference_steps or 0, place, timesteps, sigmas)


def retrieve_latents(
    encoder_output: Any, generator: torch.Generator | None = None, sample_mode: str = "sample"
) -> Tensor:
    """Latents out of what an autoencoder's `encode` returns; `"argmax"` takes the mode."""
    distribution = encoder_output.latent_dist
    latents: Tensor = (
        distribution.mode() if sample_mode == "argmax" else distribution.sample(generator)
    )
    return latents


def calculate_shift(
    image_seq_len: int,
    base_seq_len: int = 256,
    max_seq_len: int = 4096,
    base_shift: float = 0.5,
    max_shift: float = 1.15,
) -> float:
    """The shift of FLUX's schedule for so many patches, on a line through the two given points."""
    slope = (max_shift - base_shift) / (max_seq_len - base_seq_len)
    return base_shift + slope * (image_seq_len - base_seq_len)


def rescale_noise_cfg(
    noise_cfg: Tensor, noise_pred_text: Tensor, guidance_rescale: float = 0.0
) -> Tensor:
    """Lin et al. (2023, arXiv:2305.08891), eq. 15 and 16; see `dpnb.pipelines.denoise.guide`."""
    axes = list(range(1, noise_cfg.ndim))
    ratio = noise_pred_text.std(dim=axes, keepdim=True) / noise_cfg.std(dim=axes, keepdim=True)
    return noise_cfg * (guidance_rescale * ratio + (1 - guidance_rescale))


def is_torch_version(operation: str, version: str) -> bool:
    """Whether torch's release is, say, `">="` this one."""
    own, other = Version(Version(torch.__version__).base_version), Version(version)
    return {
        "<": own < other,
        "<=": own <= other,
        "==": own == other,
        "!=": own != other,
        ">": own > other,
        ">=": own >= other,
    }[operation]


def is_there(*_: Any) -> bool:
    """Whether a package that dpnb itself needs is installed, in a release that will do."""
    return True


def is_absent() -> bool:
    """Whether a package that dpnb never uses is at hand."""
    return False


def is_xformers_available() -> bool:
    """Whether xFormers is installed."""
    return find_spec("xformers") is not None


def get_module_execution_device(module: nn.Module) -> torch.device:
    """Where a network computes: as hooks of accelerate say, or else where its weights are."""
    hooks = (vars(part)["_hf_hook"] for part in module.modules() if "_hf_hook" in vars(part))
    told = (vars(hook).get("execution_device") for hook in hooks)
    device = next((one for one in told if one is not None), None)
    if device is None:
        return next((p.device for p in module.parameters()), torch.device("cpu"))
    return torch.device(device)


def empty_device_cache(device_type: str | None = None) -> None:
    """Give back what torch keeps of a device's memory for later.

    Args:
        device_type: `"cuda"`; others keep nothing.
    """
    if device_type in (None, "cuda") and torch.cuda.is_available():
        torch.cuda.empty_cache()


def get_torch_cuda_device_capability() -> float | None:
    """The compute capability of the present CUDA device, such as 8.6; `None` without one."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return float(f"{major}.{minor}")


def load_state_dict(
    checkpoint_file: str | Path,
    disable_mmap: bool = False,
    map_location: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """The tensors of a weight file by name.

    Args:
        checkpoint_file: a `.safetensors` or a `.bin` file.
        disable_mmap: has no effect: tensors of a mapped file are private.
        map_location: the device where they go.

    Raises:
        CheckpointError: the file is damaged, or holds more than tensors.
    """
    path = Path(checkpoint_file)
    return dict(read_tensors(path, lambda _, stored: stored, torch.device(map_location)))
