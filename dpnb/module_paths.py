"""Files by the paths that scripts know from elsewhere, such as `dpnb.schedulers.scheduling_ddim`.

There are no such files here. A module at such a path has every name of this package, and what
pipelines of other people import besides; none is loaded before it is asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from dpnb.absent_names import explain_absence

PACKAGE = "dpnb"

PATHS = re.compile(
    rf"{PACKAGE}\.("
    r"loaders(\.(ip_adapter|lora_\w+|peft|single_file\w*|textual_inversion|transformer_\w+|unet\w*))?"
    r"|hooks(\.\w+)?|quantizers(\.\w+)?|video_processor"
    r"|models\.(activations|attention|attention_dispatch|downsampling|embeddings|normalization|resnet"
    r"|upsampling)"
    r"|models\.autoencoders(\.(autoencoder_\w+|consistency_decoder_vae|vae|vq_model))?"
    r"|models\.transformers(\.\w*transformer_\w+)?"
    r"|models\.unets(\.unet_\w+)?"
    r"|models\.(modeling_outputs|modeling_utils|lora|vq_model)"
    r"|pipelines\.(auto_pipeline|pipeline_loading_utils|pipeline_utils)"
    r"|pipelines\.(ddim|ddpm|latent_consistency_models|pag)"
    r"|pipelines\.\w+\.(pipeline_\w+|safety_checker|watermark)"
    r"|schedulers\.scheduling_\w+"
    r"|utils\.(\w+_utils|outputs)"
    r")"
)
"""The paths of files in which names that this package has, too, are kept elsewhere."""


def find_elsewhere(place: str, name: str) -> Any:
    """What scripts import by the name of `name` from the module `place`, wherever it is here.

    Raises:
        AttributeError: there is no such name here.
        ImportError: likewise, and something else serves in its place.
    """
    home = import_module("dpnb.pipelines.foreign.community").HOMES.get(name, PACKAGE)
    if name in import_module("dpnb.names").HOMES:
        home = PACKAGE
    elif name.startswith("__") or (home == PACKAGE and explain_absence(name, ()) is None):
        raise AttributeError(f"module {place!r} has no attribute {name!r}")
    module, _, own_name = home.partition(":")
    return getattr(import_module(module), own_name or name)


class PathFinder:
    """Finds what is at one of `PATHS`, and loads it."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How to load `fullname`; `None` where it is not one of `PATHS`."""
        if PATHS.fullmatch(fullname):
            finder: Any = PathFinder
            return spec_from_loader(fullname, finder, origin=PACKAGE, is_package=True)
        return None

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leave it to Python to make the module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Let `module` look names up when they are asked for."""
        vars(module)["__doc__"] = __doc__
        vars(module)["__getattr__"] = partial(find_elsewhere, module.__name__)


def offer_paths() -> None:
    """Let Python look here for what it finds nowhere else."""
    if PathFinder not in sys.meta_path:
        sys.meta_path.append(PathFinder)
