"""The scheduler that dpnb has not: DPM-Solver with the noise of a Brownian tree."""

from __future__ import annotations

from typing import Any, NoReturn

BROWNIAN_TREE = (
    "DPMSolverSDEScheduler draws its noise from torchsde's Brownian tree, which dpnb does not "
    'build; use DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), which solves the '
    "same equation with noise of a generator."
)


class DPMSolverSDEScheduler:
    """A name that refuses, in a sentence that names another way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(BROWNIAN_TREE)

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(BROWNIAN_TREE)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(BROWNIAN_TREE)
