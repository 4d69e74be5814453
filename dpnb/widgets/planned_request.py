"""A request as what plans are made for: a workload, and further arguments of the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.planning.loaded_pipelines import list_weights
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import with_card, with_defaults_of
from dpnb.strategies.lora import components_by_adapter
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request

FRAMES = "num_frames"
"""What calls take the length of a video by."""

COSTLY = ("height", "width", "batch", "steps", "frames")
"""What of a workload decides what it costs, beside guidance."""


@dataclass(frozen=True)
class PlannedRequest:
    """What plans are made for.

    Args:
        workload: what is drawn.
        arguments: further ones of the pipeline's call, by name.
    """

    workload: Workload
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, session: Session, request: Request) -> Self:
        """What is planned for somebody who is about to ask for this.

        Args:
            session: whose pipeline draws it.
            request: what is asked for.

        Raises:
            TypeError: it is nothing that can be planned for.
            ValueError: likewise.
        """
        signature, numbers = session.pipe.call_signature, session.card_numbers
        guidance, own = signature.guidance, request.guidance_scale
        is_card_s = guidance is not None and numbers.get(guidance.name) == own
        asked = Workload(
            height=request.height,
            width=request.width,
            batch=request.count,
            steps=request.steps,
            frames=frames_of(session.pipe, request),
            guidance_scale=None if guidance is None or is_card_s else own,
        )
        more = dict(request.more)
        further = {name: value for name, value in more.items() if name != FRAMES}
        if request.strength is not None and signature.find("strength") is not None:
            further["strength"] = request.strength
        return cls(with_card(signature, asked, numbers, more), further)

    def fingerprint(self, pipe: ExplorablePipeline) -> tuple[object, ...]:
        """What plans depend on, to be compared: what is asked for, and what the pipeline is.

        What is switched on at it makes no difference.

        Args:
            pipe: what draws it.
        """
        adapters = repr(components_by_adapter(pipe.strategies.networks))
        return self.workload, repr(sorted(self.arguments.items())), adapters, list_weights(pipe)


def frames_of(pipe: ExplorablePipeline, request: Request) -> int | None:
    """The length of a video that a request is for; `None` where the pipeline draws none."""
    found = dict(request.more).get(FRAMES, pipe.call_signature.default(FRAMES))
    return found if isinstance(found, int) else None


def costs_the_same(pipe: ExplorablePipeline, one: Workload, other: Workload) -> bool:
    """Whether two workloads have one size, count and number of steps, and are both guided or not.

    Args:
        pipe: whose own numbers count where none are given.
        one: what is drawn.
        other: likewise.
    """
    filled = with_defaults_of(pipe, one), with_defaults_of(pipe, other)
    sizes = [[getattr(drawn, name) for name in COSTLY] for drawn in filled]
    guided = [(drawn.guidance_scale or 0) > 1 for drawn in filled]
    return sizes[0] == sizes[1] and guided[0] == guided[1]
