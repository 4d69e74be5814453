"""Where networks compute, told in the way in which pipelines of diffusers ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

HOOK = "_hf_hook"
"""Where accelerate keeps what looks after a network, and where pipelines look for it."""


class Place:
    """Stands for accelerate's hook at a network, as far as a pipeline looks at one.

    Many ask a text encoder where the words belong that it is to read. It would answer with the
    place of its first weight, which is on the host or the disk when its turn has not come.

    Args:
        locate: where networks compute; `None` leaves the answer to them.
    """

    def __init__(self, locate: Callable[[], torch.device | None]) -> None:
        self._locate = locate

    @property
    def execution_device(self) -> torch.device | None:
        """Where the network computes, unless it is where its weights are."""
        return self._locate()

    def __deepcopy__(self, memo: dict[int, object]) -> Place:
        return self


@contextmanager
def tell_places(
    networks: Iterable[nn.Module], locate: Callable[[], torch.device | None]
) -> Iterator[None]:
    """Within, networks answer with what `locate` returns to who asks where they compute."""
    with ExitStack() as undo:
        for network in networks:
            own = vars(network)
            if HOOK not in own:
                own[HOOK] = Place(locate)
                undo.callback(own.pop, HOOK, None)
        yield
