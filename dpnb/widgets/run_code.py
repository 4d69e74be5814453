"""A request as Python that asks the same of a pipeline which was not written here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.widgets.scheduler_choice import find_successors
from dpnb.widgets.state import Request


def request_to_python(
    request: Request, signature: CallSignature, scheduler: Any, pipeline: str = "pipe"
) -> str:
    """Python that draws what `request` asks for.

    Args:
        request: what to draw; the pictures that it was given are variables of their names.
        signature: of the pipeline's call.
        scheduler: the present one.
        pipeline: the name of the variable that holds the pipeline.
    """
    arguments = request.arguments(signature)
    seeds = arguments.pop("generator", None)
    imports, before = _choose(request, scheduler, pipeline)
    written = {name: repr(value) for name, value in arguments.items()}
    written |= {name: name for name, _ in request.pictures}
    if seeds is not None:
        imports = ["import torch", *imports]
        written["generator"] = _write_generators(request, isinstance(seeds, list))
    lines = [f"    {name}={value}," for name, value in written.items()]
    return "\n".join([*imports, *before, f"output = {pipeline}(", *lines, ")"])


def _write_generators(request: Request, are_several: bool) -> str:
    one = "torch.Generator().manual_seed"
    if not are_several:
        return f"{one}({request.seed})"
    return f"[{one}(seed) for seed in range({request.seed}, {request.seed + request.count})]"


def _choose(request: Request, scheduler: Any, pipeline: str) -> tuple[list[str], list[str]]:
    """Imports and lines that exchange the scheduler, where another one is asked for."""
    name = request.scheduler
    successors: Mapping[str, Any] = find_successors(scheduler)
    if name is None or name == type(scheduler).__name__ or name not in successors:
        return [], []
    module = type(successors[name]()).__module__
    change = f"{pipeline}.scheduler = {name}.from_config({pipeline}.scheduler.config)"
    return [f"from {module} import {name}"], [change]
