"""What community pipelines import besides classes of ours, in the form that they expect."""

from __future__ import annotations

import logging as standard_logging
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from packaging.version import Version
from PIL.Image import Resampling
from torch import Tensor

from dpnb.generators import randn
from dpnb.loading.settings_files import FORMAT_VERSION
from dpnb.nn.weight_changes import NO_SCALE
from dpnb.pipelines.denoise import set_timesteps

logger = standard_logging.getLogger(__name__)

USE_PEFT_BACKEND = False

logging = SimpleNamespace(get_logger=standard_logging.getLogger)

PIL_INTERPOLATION = {
    "bicubic": Resampling.BICUBIC,
    "bilinear": Resampling.BILINEAR,
    "lanczos": Resampling.LANCZOS,
    "linear": Resampling.BILINEAR,
    "nearest": Resampling.NEAREST,
}


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


def get_logger(name: str) -> standard_logging.Logger:
    """The standard library's logger of this name."""
    return standard_logging.getLogger(name)


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
            begin = f"`{name}` is deprecated and goes with release {release}. "
            warnings.warn(
                f"{begin if standard_warn else ''}{text}", FutureWarning, stacklevel=stacklevel
            )
    if isinstance(take_from, dict) and take_from:
        raise TypeError(f"There is no argument {', '.join(map(str, take_from))}; leave it out.")
    return tuple(values) if len(values) > 1 else next(iter(values), None)


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
