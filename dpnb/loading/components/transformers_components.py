"""Components that transformers makes: text encoders, tokenizers, image processors, CLIP models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.errors import CheckpointError, QuantizationError
from dpnb.loading.checkpoint_files import (
    check_checkpoint_file,
    explain_settings_errors,
    read_checkpoint_json,
)
from dpnb.loading.checkpoint_paths import check_all_inside
from dpnb.loading.filenames import WeightName
from dpnb.loading.quantization import Recipe
from dpnb.loading.weights.common_dtype import cast_to_common_dtype, find_common_dtype
from dpnb.loading.weights.embedded_files import EmbeddedFile
from dpnb.loading.weights.legacy_keys import match_clip_keys
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.meta_init import Extent, assign_state, init_on_meta
from dpnb.loading.weights.weight_files import (
    NO_EMBEDDED_FILES,
    EmbeddedFiles,
    WeightFile,
    find_weights,
    read_weights,
    write_weights,
)
from dpnb.silence import silence_imports, silence_transformers

logger = logging.getLogger(__name__)

STEM = "model"

MAX_SMALL = 256 << 20
"""Bytes of a file that holds no weights; the largest tokenizers of today take a tenth of it."""

MOST_EXTRA_TOKENS = 10_000
"""T5's tokenizers have a hundred."""

_CLIP_TYPES = frozenset({"clip", "clip_text_model", "clip_vision_model"})


def load_transformers_component(
    cls: type[Any],
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    embedded: EmbeddedFiles = NO_EMBEDDED_FILES,
    recipe: Recipe | None = None,
) -> tuple[Any, LoadingInfo]:
    """The component of class `cls` in `folder`, and how its weights agreed with it.

    CLIP models are built without weights and take those of the file as they are mapped; other
    models, tokenizers and processors are loaded by transformers.

    Args:
        cls: A class that transformers defines, or one of ours derived from `PreTrainedModel`.
        folder: A local folder.
        dtype: For floating weights; `None` keeps the file's.
        device: Where weights go, straight from the file; `None` is the CPU.
        variant: As for `find_weights`.
        use_safetensors: As for `find_weights`.
        embedded: As for `find_weights`.
        recipe: How transformers quantizes the weights as it loads them.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights are not this model's.
        QuantizationError: transformers cannot quantize such a model.
    """
    with silence_imports():
        from transformers import PreTrainedModel

    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; download or save the pipeline again.")
    check_all_inside(folder)
    with silence_transformers(), _explain_errors(cls, folder):
        _check_files(folder)
        if not issubclass(cls, PreTrainedModel):
            _check_extra_tokens(folder / "tokenizer_config.json")
            return cls.from_pretrained(folder), LoadingInfo()
        paths = find_weights(
            folder, STEM, variant=variant, use_safetensors=use_safetensors, embedded=embedded
        )
        if recipe is None and _is_plain_clip(cls, folder):
            model, info = _load_clip(cls, folder, paths, dtype, device)
        else:
            model, info = _load_model(cls, folder, paths, dtype, device, recipe)
    _check(cls, folder, info)
    return model.eval(), info


def find_fp32_modules(model: nn.Module, dtype: torch.dtype | None) -> set[nn.Module]:
    """The layers of a text encoder that stay in float32 when it is loaded in this dtype.

    transformers says of each class which layers overflow in float16.
    """
    if dtype != torch.float16 or not type(model).__module__.startswith("transformers."):
        return set()
    encoder: Any = model
    names = encoder._keep_in_fp32_modules or ()
    return {part for path, part in model.named_modules() if path.rpartition(".")[2] in names}


def save_transformers_component(
    part: Any,
    folder: Path,
    *,
    variant: str | None = None,
    max_shard_size: int | str | None = None,
    safe_serialization: bool = True,
) -> None:
    """Write `part` into `folder`, so that any version of transformers reads it.

    Raises:
        ValueError: weights are on the meta device, or `max_shard_size` is not a size.
    """
    is_model = isinstance(part, nn.Module)
    folder.mkdir(parents=True, exist_ok=True)
    with silence_transformers():
        if not is_model:
            _save_processor(part, folder)
        elif "quantization_config" in vars(part.config):
            part.save_pretrained(folder, variant=variant)
        else:
            _save_settings(part, folder)
            write_weights(
                _portable_state(part),
                folder,
                STEM,
                variant=variant,
                max_shard_size=max_shard_size,
                safe_serialization=safe_serialization,
            )


def _check_files(folder: Path) -> None:
    """See to it that transformers, which opens what it finds, finds files of a sensible size."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            is_weight = WeightName.parse(path.name) is not None and path.suffix != ".json"
            check_checkpoint_file(path, None if is_weight else MAX_SMALL)


def _is_plain_clip(cls: Any, folder: Path) -> bool:
    is_quantized = "quantization_config" in read_checkpoint_json(folder / "config.json")
    return cls.config_class.model_type in _CLIP_TYPES and not is_quantized


def _load_clip(
    cls: Any,
    folder: Path,
    paths: tuple[WeightFile, ...],
    dtype: torch.dtype | None,
    device: torch.device | None,
) -> tuple[Any, LoadingInfo]:
    weights = read_weights(paths, dtype=dtype, device=device)
    weights = cast_to_common_dtype(weights) if dtype is None else weights
    model = build_without_weights(cls, folder, Extent.around(weights))
    info = _fill_clip(model, folder, match_clip_keys(weights, model.state_dict()), device)
    return model, info


def make_clip(
    cls: Any, folder: Path, convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
) -> Any:
    """A model of CLIP with the settings in `folder`, in evaluation mode.

    Args:
        cls: its class in transformers.
        folder: holds its `config.json`.
        convert: gives the weights for tensors that have no values yet, by name.

    Raises:
        CheckpointError: settings are missing, or the weights are not this model's.
    """
    with silence_transformers():
        model = build_without_weights(cls, folder)
        _fill_clip(model, folder, convert(model.state_dict()), None)
    return model.eval()


def _fill_clip(
    model: Any, folder: Path, weights: Mapping[str, Tensor], device: torch.device | None
) -> LoadingInfo:
    info = LoadingInfo.of(model.state_dict(), weights, folder)
    _check(type(model), folder, info)
    assign_state(model, weights)
    _number_positions(model, device)
    model.config.dtype = model.dtype
    model.name_or_path = str(folder)
    return info


def build_without_weights(cls: Any, folder: Path, most: Extent | None = None) -> Any:
    """A model of `cls` by the settings in `folder`, without values.

    Args:
        cls: derived from `PreTrainedModel`.
        folder: holds its `config.json`.
        most: what it may have.

    Raises:
        CheckpointError: there are no settings, or none that it can have.
    """
    path = folder / "config.json"
    read_checkpoint_json(path)
    with _explain_errors(cls, folder), explain_settings_errors(path):
        config = cls.config_class.from_pretrained(folder)
        with init_on_meta(most):
            return cls(config)


def _number_positions(model: nn.Module, device: torch.device | None) -> None:
    """Give the one kind of buffer that CLIP computes, and no file holds, its values."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name == "position_ids":
                positions = torch.arange(buffer.shape[-1], device=device or "cpu")
                module.register_buffer(name, positions.expand(buffer.shape), persistent=False)


def _load_model(
    cls: Any,
    folder: Path,
    paths: tuple[WeightFile, ...],
    dtype: torch.dtype | None,
    device: torch.device | None,
    recipe: Recipe | None,
) -> tuple[Any, LoadingInfo]:
    weights = read_weights(paths)
    build_without_weights(cls, folder, Extent.around(weights))
    chosen = find_common_dtype(weights) if dtype is None else dtype
    if isinstance(paths[0], EmbeddedFile):
        settings = cls.config_class.from_pretrained(folder)
        source = {"config": settings, "state_dict": read_weights(paths, dtype=chosen)}
        place = None
    else:
        name = WeightName.parse(paths[0].name)
        source = {
            "variant": None if name is None else name.variant,
            "use_safetensors": paths[0].suffix == ".safetensors",
            "local_files_only": True,
        }
        place = folder
    if recipe is not None:
        source |= {
            "quantization_config": recipe.for_transformers(dtype),
            "device_map": {"": device or torch.device("cpu")},
        }
    with silence_imports(), _quantizable(cls, recipe):
        model, info = cls.from_pretrained(
            place,
            dtype=chosen,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **source,
        )
    is_placed = device is None or recipe is not None
    return (model if is_placed else model.to(device)), LoadingInfo(
        missing=tuple(sorted(info["missing_keys"])),
        unexpected=tuple(sorted(info["unexpected_keys"])),
        mismatched=tuple(sorted(key[0] for key in info["mismatched_keys"])),
    )


@contextmanager
def _quantizable(cls: type[Any], recipe: Recipe | None) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if recipe is None:
            raise
        raise QuantizationError(
            f"transformers cannot quantize a {cls.__name__} by {recipe.backend}; leave it out of "
            "quantization_config."
        ) from error


def _check(cls: type[Any], folder: Path, info: LoadingInfo) -> None:
    for names, verb in ((info.missing, "lacks"), (info.mismatched, "has other shapes for")):
        if names:
            raise CheckpointError(
                f"{folder} {verb} {len(names)} weights of {cls.__name__}, such as {names[0]!r}; "
                "use the config.json that belongs to these weights, or download them again."
            )
    if info.unexpected:
        logger.info(
            "%s holds %d weights that %s does not use, such as %s.",
            folder,
            len(info.unexpected),
            cls.__name__,
            info.unexpected[0],
        )


def _check_extra_tokens(path: Path) -> None:
    """Refuse a tokenizer that would make more tokens of its own than any has."""
    count = read_checkpoint_json(path).get("extra_ids", 0) if path.is_file() else 0
    if isinstance(count, (int, float)) and count > MOST_EXTRA_TOKENS:
        raise CheckpointError(
            f"{path} has extra_ids of {count}; {MOST_EXTRA_TOKENS} at most are made. Download or "
            "save it again."
        )


@contextmanager
def _explain_errors(cls: type[Any], folder: Path) -> Iterator[None]:
    try:
        yield
    except (CheckpointError, QuantizationError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raises no narrower class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "install it" if isinstance(error, ImportError) else "download or save it again"
        raise CheckpointError(
            f"transformers cannot load a {cls.__name__} from {folder} ({reason}); {remedy}."
        ) from error


def _save_settings(model: Any, folder: Path) -> None:
    model.config.architectures = [type(model).__name__]
    model.config.dtype = str(model.dtype).removeprefix("torch.")
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)


def _portable_state(model: Any) -> dict[str, torch.Tensor]:
    """Weights under the names that every version of transformers reads; tied ones once."""
    prefix = "text_model." if type(model).__name__ == "CLIPTextModel" else ""
    return {
        name if name.startswith(prefix) else prefix + name: tensor
        for name, tensor in model.state_dict().items()
        if name not in model.all_tied_weights_keys
    }


def _save_processor(part: Any, folder: Path) -> None:
    """Write a tokenizer or processor; a BPE also as the two files that transformers 4 reads."""
    with silence_imports():
        from transformers import PreTrainedTokenizerFast

    part.save_pretrained(folder)
    if isinstance(part, PreTrainedTokenizerFast):
        model = part.backend_tokenizer.model
        if type(model).__name__ == "BPE":
            model.save(str(folder))
