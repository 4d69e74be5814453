"""Settings as others write them in JSON: InvokeAI, SwarmUI, Fooocus, and files of prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dpnb.pipelines.settings.parameters_text import read_finite_number, read_whole_number
from dpnb.pipelines.settings.picture_settings import PictureSettings
from dpnb.pipelines.settings.samplers import find_sampler

NAMES: Mapping[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "prompt": (("positive_prompt", "prompt"), str),
    "negative_prompt": (("negative_prompt", "negativeprompt"), str),
    "steps": (("steps",), read_whole_number),
    "guidance_scale": (
        ("cfg_scale", "cfgscale", "guidance_scale", "guidance"),
        read_finite_number,
    ),
    "seed": (("seed",), read_whole_number),
    "width": (("width",), read_whole_number),
    "height": (("height",), read_whole_number),
    "strength": (("strength", "initimagecreativity"), read_finite_number),
    "version": (("app_version", "swarm_version", "version"), str),
}
"""What a field is called, and how it is read."""

MODELS = ("model", "base_model")
MODEL_NAMES = ("name", "model_name", "key")


def read_record(values: Mapping[str, Any]) -> PictureSettings | None:
    """The settings in another program's record.

    Args:
        values: the record.

    Returns:
        `None` where it is no record of a picture that is known here.
    """
    record = values.get("sui_image_params", values)
    if not isinstance(record, Mapping) or not any(name in record for name in NAMES["prompt"][0]):
        return None
    found: dict[str, Any] = {}
    for name, (keys, read) in NAMES.items():
        given = next((record[key] for key in keys if _is_plain(record.get(key))), None)
        if given is not None and (value := read(str(given))) is not None:
            found[name] = value
    sampler, schedule = _read_sampler(record)
    scheduler, settings = find_sampler(sampler, schedule)
    return PictureSettings(
        **found,
        scheduler=scheduler,
        scheduler_settings=settings,
        sampler="" if scheduler else " ".join([sampler, schedule]).strip(),
        model=_read_model(record),
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _read_sampler(record: Mapping[str, Any]) -> tuple[str, str]:
    """The sampler and the schedule type; InvokeAI's scheduler is both."""
    sampler, scheduler = (record.get(name) for name in ("sampler", "scheduler"))
    texts = [one if isinstance(one, str) else "" for one in (sampler, scheduler)]
    return (texts[0], texts[1]) if texts[0] else (texts[1], "")


def _read_model(record: Mapping[str, Any]) -> str | None:
    for given in (record.get(name) for name in MODELS):
        names = [given.get(n) for n in MODEL_NAMES] if isinstance(given, Mapping) else [given]
        if (found := next((n for n in names if isinstance(n, str) and n), None)) is not None:
            return found
    return None
