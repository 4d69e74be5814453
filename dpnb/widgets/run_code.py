"""A request as Python that asks the same of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.widgets.literals import is_literal
from dpnb.widgets.scheduler_choice import choose_scheduler, find_successors
from dpnb.widgets.state import Request

READERS: Mapping[str, tuple[str, ...]] = {
    "dpnb.widgets.sound_uploads": ("load_sound",),
    "dpnb.widgets.uploads": ("load_frames", "load_picture", "stack_frames"),
}
"""Where the functions are that read what was chosen from files."""


def request_to_python(
    request: Request, signature: CallSignature, scheduler: Any, pipeline: str = "pipe"
) -> str:
    """Python that draws what `request` asks for.

    Args:
        request: what to draw; what was chosen from files is read from them, and what cannot be
            written is a variable of its argument's name.
        signature: of the pipeline's call.
        scheduler: the present one.
        pipeline: the name of the variable that holds the pipeline.
    """
    arguments = request.arguments(signature)
    seeds = arguments.pop("generator", None)
    imports, before = _choose(request, scheduler, pipeline)
    loads = {name: load for name, load in request.loads if name in arguments}
    variables = [name for name, value in arguments.items() if not is_literal(value)]
    written = {
        name: name if name in variables else repr(value) for name, value in arguments.items()
    }
    if seeds is not None:
        imports = ["import torch", *imports]
        count = len(seeds) if isinstance(seeds, list) else None
        written["generator"] = _write_generators(request.seed, count)
    imports += _import_readers(loads.values())
    imports += _import_holders(arguments[name] for name in loads)
    before += [f"{name} = {load}" for name, load in loads.items()]
    before += [f"# {n}: a value from a cell; set it first" for n in variables if n not in loads]
    lines = [f"    {name}={value}," for name, value in written.items()]
    return "\n".join([*imports, *before, f"output = {pipeline}(", *lines, ")"])


def _import_readers(loads: Iterable[str]) -> list[str]:
    """The imports of what reads files."""
    text = " ".join(loads)
    lines = []
    for module, names in READERS.items():
        used = ", ".join(name for name in names if f"{name}(" in text)
        if used:
            lines.append(f"from {module} import {used}")
    return lines


def _import_holders(values: Iterable[Any]) -> list[str]:
    """The imports of the classes of objects in lists that were made of files."""
    lists = [value for value in values if isinstance(value, list)]
    kinds = {type(one) for value in lists for one in value if not isinstance(one, Image.Image)}
    return sorted(f"from {kind.__module__} import {kind.__name__}" for kind in kinds)


def _write_generators(seed: int, count: int | None) -> str:
    """One generator, or `count` of them in a list."""
    one = "torch.Generator().manual_seed"
    if count is None:
        return f"{one}({seed})"
    return f"[{one}(seed) for seed in range({seed}, {seed + count})]"


def _choose(request: Request, scheduler: Any, pipeline: str) -> tuple[list[str], list[str]]:
    """Imports and lines that exchange the scheduler, where another one is asked for."""
    name, settings = request.scheduler, request.scheduler_settings
    if name not in {type(scheduler).__name__, *find_successors(scheduler)}:
        return [], []
    chosen = choose_scheduler(scheduler, name, settings)
    if chosen is scheduler:
        return [], []
    module = type(chosen).__module__
    module = "dpnb" if module.startswith("dpnb.") else module
    config = f"{pipeline}.scheduler.config" if settings is None else repr(dict(settings))
    change = f"{pipeline}.scheduler = {name}.from_config({config})"
    return [f"from {module} import {name}"], [change]
