"""Why a pipeline's own code refuses a simulated run, in one sentence that says what to give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpnb.errors import DpnbError
from dpnb.pipelines.call_arguments import PLUMBING
from dpnb.pipelines.explorable import ExplorablePipeline

SIZES = {"height": "height", "width": "width", "num_frames": "frames"}
"""Arguments of a call that say how much is drawn → what a workload calls them."""


class SimulatedRunError(DpnbError, ValueError):
    """A pipeline's own code fails with the arguments of a simulated run."""


def explain_failure(
    pipe: ExplorablePipeline, arguments: Mapping[str, Any], error: Exception
) -> SimulatedRunError:
    """The error of a run as a sentence that names the arguments by which it may be mended.

    Args:
        pipe: what was called.
        arguments: of the call.
        error: that it ended with.
    """
    signature = pipe.call_signature
    missing = [
        one.name
        for one in signature
        if one.is_required and one.name not in arguments and one.name not in PLUMBING
    ]
    if missing:
        given = ", ".join(f"{name!r}: …" for name in missing)
        return SimulatedRunError(
            f"{pipe.class_name} cannot be called without {' and '.join(missing)}, which nothing "
            f"here makes up; give arguments={{{given}}} to dpnb.plan."
        )
    sizes = {name: arguments.get(name, signature.default(name)) for name in SIZES}
    known = [f"{name}={value}" for name, value in sizes.items() if value is not None]
    drawn = f" at {', '.join(known)}" if known else ""
    names = [SIZES[name] for name in SIZES if name in signature]
    others = f"another {', '.join(names)}, or " if names else ""
    return SimulatedRunError(
        f"A simulated run of {pipe.class_name}{drawn} fails with {describe_failure(error)}; give "
        f"{others}what its call needs with arguments={{…}}."
    )


def describe_failure(error: BaseException) -> str:
    """The class of an error and the first line of its message; of one of dpnb's, that alone."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip().rstrip(".") if lines else ""
    if isinstance(error, DpnbError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
