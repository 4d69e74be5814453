"""Weights stored in fewer bits, as a pipeline is loaded: what is asked for, of which component."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from typing import Any

import torch

from dpnb.errors import QuantizationError
from dpnb.silence import silence_imports
from dpnb.validation import parse_names

TORCHAO, BITSANDBYTES = "torchao", "bitsandbytes"

KINDS: Mapping[str, tuple[str, ...]] = {
    "int8": (TORCHAO, BITSANDBYTES),
    "int4": (TORCHAO,),
    "fp8": (TORCHAO,),
    "nf4": (BITSANDBYTES,),
    "fp4": (BITSANDBYTES,),
}
"""What weights can be stored as, and the packages that do it, the usual one first."""

NEVER_BY_DEFAULT = ("vae", "safety_checker")
"""One way for all networks leaves these out: an autoencoder has few matrices, and they show in
pictures; what a checker decides should not change.
"""


@dataclass(frozen=True)
class StoredWeights:
    """How the matrices of a network are stored: in 8 or 4 bits, with scales that widen them in use.

    `dpnb.Quantization` has the same fields, and says what they mean.
    """

    kind: str | tuple[tuple[str, str], ...]
    backend: str | None = None
    group_size: int | None = None
    modules_to_not_convert: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if not isinstance(kind, str) or kind not in KINDS:
                raise ValueError(f"Weights cannot be stored as {kind!r}; use {', '.join(KINDS)}.")
            if self.backend not in (None, *KINDS[kind]):
                raise ValueError(
                    f"{self.backend!r} does not make {kind} weights; leave backend out, or use "
                    f"{' or '.join(KINDS[kind])}."
                )
        if self.group_size is not None and ({*self.kinds} != {"int4"} or self.group_size < 1):
            raise ValueError(f"group_size={self.group_size} is for int4, and 1 at the least.")
        if self.components and not isinstance(self.kind, str):
            raise ValueError("kind names components already; leave components out.")
        given, wanted = self.modules_to_not_convert, 'names of layers, such as ("proj_out",)'
        names = parse_names("modules_to_not_convert", given or (), wanted)
        object.__setattr__(self, "modules_to_not_convert", names)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What weights are stored as."""
        return (self.kind,) if isinstance(self.kind, str) else tuple(k for _, k in self.kind)

    def recipes(self) -> dict[str, Recipe]:
        """Component → what carries this out there; none where no component is named.

        Raises:
            QuantizationError: a package is not installed.
        """
        kind = self.kind
        pairs = [(name, kind) for name in self.components] if isinstance(kind, str) else kind
        return {name: self.recipe(stored) for name, stored in pairs}

    def recipe(self, kind: str = "") -> Recipe:
        """What carries this out.

        Args:
            kind: one of several; the only one by default.

        Raises:
            QuantizationError: the package is not installed, or there are several kinds.
        """
        if not kind and (self.components or not isinstance(self.kind, str)):
            raise QuantizationError(
                f"{self!r} names components of a pipeline; give a network one kind, for example "
                f"'int8'."
            )
        kind = kind or self.kinds[0]
        backend = self.backend or KINDS[kind][0]
        require_package(backend, kind)
        settings = (
            _torchao_settings(kind, self.group_size or 128)
            if backend == TORCHAO
            else BitsAndBytes(kind)
        )
        return Recipe(kind, backend, settings, self.modules_to_not_convert)


@dataclass(frozen=True)
class BitsAndBytes:
    """How bitsandbytes stores weights.

    Args:
        kind: `"int8"`, `"nf4"` or `"fp4"`.
        threshold: inputs beyond it are multiplied in full precision, for int8.
        compute_dtype: of 4-bit layers; by default that of the weights.
        nested: quantize the scales of 4-bit layers, too.
    """

    kind: str
    threshold: float = 6.0
    compute_dtype: torch.dtype | None = None
    nested: bool = False


@dataclass(frozen=True)
class Recipe:
    """How to quantize a network.

    Args:
        label: what it is called.
        backend: `"torchao"` or `"bitsandbytes"`.
        settings: torchao's own configuration, or `BitsAndBytes`.
        skipped: names of layers that stay as they are; see `Quantization`.
    """

    label: str
    backend: str
    settings: Any
    skipped: tuple[str, ...] = ()

    def for_transformers(self, dtype: torch.dtype | None) -> Any:
        """The same as a configuration of transformers', for weights that are in `dtype`."""
        with silence_imports():
            from transformers import BitsAndBytesConfig, TorchAoConfig

        skipped = list(self.skipped) or None
        if self.backend == TORCHAO:
            return TorchAoConfig(self.settings, modules_to_not_convert=skipped)
        if self.settings.kind == "int8":
            return BitsAndBytesConfig(
                load_in_8bit=True,
                llm_int8_threshold=self.settings.threshold,
                llm_int8_skip_modules=skipped,
            )
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.settings.kind,
            bnb_4bit_compute_dtype=self.settings.compute_dtype or dtype,
            bnb_4bit_use_double_quant=self.settings.nested,
            llm_int8_skip_modules=skipped,
        )


@dataclass(frozen=True)
class QuantizationPlan:
    """Which components of a pipeline are quantized, and how.

    Args:
        by_name: component → recipe.
        everywhere: of all other networks but the autoencoder and the safety checker.
    """

    by_name: Mapping[str, Recipe] = field(default_factory=dict)
    everywhere: Recipe | None = None

    @classmethod
    def of(cls, value: Any) -> QuantizationPlan:
        """The plan that `quantization_config=value` asks for.

        Args:
            value: component → configuration; a configuration for all; or an object like diffusers'
                `PipelineQuantizationConfig`. A configuration is a `Quantization` or its kind as
                text, one of torchao's own, or a `TorchAoConfig` or `BitsAndBytesConfig`.

        Raises:
            QuantizationError: a package is not installed, or the way is not served here.
            TypeError: it is none of these.
            ValueError: weights cannot be stored so.
        """
        if value is None:
            return cls()
        if isinstance(value, Mapping):
            return cls({name: recipe_of(given) for name, given in value.items()})
        if isinstance(value, StoredWeights) and (named := value.recipes()):
            return cls(named)
        own = _fields(value)
        if own.get("quant_mapping"):
            return cls.of(own["quant_mapping"])
        if "quant_backend" not in own:
            return cls(everywhere=recipe_of(value))
        recipe = _named(str(own["quant_backend"]), own.get("quant_kwargs") or {})
        names = own.get("components_to_quantize")
        names = [names] if isinstance(names, str) else names
        return cls(dict.fromkeys(names, recipe)) if names else cls(everywhere=recipe)

    def recipes(self, networks: Collection[str]) -> dict[str, Recipe]:
        """Component → recipe, for the `networks` that are loaded.

        Raises:
            QuantizationError: a component is named that is not among them.
        """
        unknown = sorted(self.by_name.keys() - networks)
        if unknown:
            raise QuantizationError(
                f"quantization_config names {', '.join(unknown)}; the networks that are loaded "
                f"here are {', '.join(sorted(networks)) or 'none'}."
            )
        if self.everywhere is None:
            return dict(self.by_name)
        big = [name for name in networks if not name.startswith(NEVER_BY_DEFAULT)]
        return dict.fromkeys(big, self.everywhere)


def recipe_of(value: Any) -> Recipe:
    """The recipe of one configuration; see `QuantizationPlan.of`."""
    if isinstance(value, StoredWeights):
        return value.recipe()
    if isinstance(value, str):
        return StoredWeights(value).recipe()
    if type(value).__module__.partition(".")[0] == TORCHAO:
        return _of_torchao(value, ())
    own = _fields(value)
    if "quant_method" in own:
        method = own["quant_method"]
        return _named(str(method.value if isinstance(method, Enum) else method), own)
    raise TypeError(
        f"{value!r} is no configuration of a quantization; use one of {', '.join(KINDS)}, or "
        "Quantization(...), or a configuration of torchao or bitsandbytes."
    )


def require_package(package: str, label: str) -> None:
    """See to it that a package is there.

    Raises:
        QuantizationError: it is not installed.
    """
    if find_spec(package) is None:
        raise QuantizationError(
            f"{label} weights need {package}, which is not installed; run pip install {package}."
        )


def _torchao_settings(kind: str, group_size: int) -> Any:
    with silence_imports():
        from torchao.quantization import (
            Float8WeightOnlyConfig,
            Int4WeightOnlyConfig,
            Int8WeightOnlyConfig,
        )
    if kind == "int8":
        return Int8WeightOnlyConfig(set_inductor_config=False, version=2)
    if kind == "fp8":
        return Float8WeightOnlyConfig(set_inductor_config=False)
    return Int4WeightOnlyConfig(
        group_size=group_size,
        int4_packing_format="tile_packed_to_4d",
        set_inductor_config=False,
    )


def _of_torchao(settings: Any, skipped: Iterable[str]) -> Recipe:
    with silence_imports():
        from torchao.core.config import AOBaseConfig
        from torchao.quantization import FqnToConfig
    if not isinstance(settings, AOBaseConfig) or isinstance(settings, FqnToConfig):
        raise QuantizationError(
            f"{type(settings).__name__} does not say how every linear layer is stored; give a "
            "configuration such as Int8WeightOnlyConfig()."
        )
    return Recipe(type(settings).__name__, TORCHAO, settings, tuple(skipped))


def _named(method: str, own: Mapping[str, Any]) -> Recipe:
    """The recipe of a configuration by the name of its method and its fields."""
    if method == TORCHAO:
        require_package(TORCHAO, "torchao's")
        return _of_torchao(own.get("quant_type"), own.get("modules_to_not_convert") or ())
    if method.partition("_")[0] != BITSANDBYTES:
        raise QuantizationError(
            f"Quantization by {method!r} is not served; use {TORCHAO} or {BITSANDBYTES}."
        )
    is_4bit = own.get("load_in_4bit") or own.get("_load_in_4bit") or method.endswith("4bit")
    kind = str(own.get("bnb_4bit_quant_type") or "fp4") if is_4bit else "int8"
    require_package(BITSANDBYTES, kind)
    settings = BitsAndBytes(
        kind,
        threshold=float(own.get("llm_int8_threshold") or (0.0 if is_4bit else 6.0)),
        compute_dtype=own.get("bnb_4bit_compute_dtype") if is_4bit else None,
        nested=bool(own.get("bnb_4bit_use_double_quant")),
    )
    skipped = own.get("llm_int8_skip_modules") or own.get("modules_to_not_convert") or ()
    return Recipe(kind, BITSANDBYTES, settings, tuple(skipped))


def _fields(value: Any) -> Mapping[str, Any]:
    try:
        own: Mapping[str, Any] = vars(value)
    except TypeError:
        return {}
    return own
