"""How the weights of a file agreed with those of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor
from typing_extensions import Self, override

from dpnb.errors import CheckpointError

KEYS = {
    "missing_keys": "missing",
    "unexpected_keys": "unexpected",
    "mismatched_keys": "mismatched",
}
"""What other packages call them."""

ERRORS = "error_msgs"


@dataclass(frozen=True, eq=False)
class LoadingInfo(Mapping[str, list[str]]):
    """Names of weights: lacking in the file, unknown to the model, and of another shape there.

    They are entries too, as in `info["missing_keys"]`.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @override
    def __getitem__(self, key: str) -> list[str]:
        """The names under `"missing_keys"`, `"unexpected_keys"` or `"mismatched_keys"`."""
        if key == ERRORS:
            return []  # an error is raised
        found: tuple[str, ...] = vars(self)[KEYS[key]]
        return list(found)

    @override
    def __iter__(self) -> Iterator[str]:
        return iter((*KEYS, ERRORS))

    @override
    def __len__(self) -> int:
        return len(KEYS) + 1

    @classmethod
    def of(cls, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: object) -> Self:
        """How `weights` agree with a model's `own`.

        Args:
            own: by name; they may be on the meta device.
            weights: by name.
            source: where they are from, for errors.

        Raises:
            CheckpointError: a weight is no floating-point number where the model's is one.
        """
        shared = [name for name in own if name in weights]
        for name in shared:
            if own[name].is_floating_point() != weights[name].is_floating_point():
                raise CheckpointError(
                    f"{source}: {name} is stored as {weights[name].dtype}, where the model has "
                    f"{own[name].dtype}; use the weights as they were before they were converted."
                )
        return cls(
            missing=tuple(sorted(own.keys() - weights.keys())),
            unexpected=tuple(sorted(weights.keys() - own.keys())),
            mismatched=tuple(sorted(n for n in shared if own[n].shape != weights[n].shape)),
        )
