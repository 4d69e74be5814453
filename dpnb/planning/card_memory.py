"""A card's memory under a plan: what is allocated, reserved, and needed on the card."""

from __future__ import annotations

from dataclasses import dataclass

from dpnb.units import format_bytes

CARD_HEADINGS = ("Allocated", "Reserved", "At least", "On card")

NEEDED = (
    "Peak is of tensors. Torch's allocator will say allocated, with libraries' workspaces, and "
    "reserved, with what it keeps unused; on the card stands the context with its kernels beside "
    "these. A plan fits if all of that does, and perhaps if it does with nothing kept unused."
)


@dataclass(frozen=True)
class CardMemory:
    """The most bytes that a run takes of a card.

    Args:
        allocated: in use in torch's allocator, as `torch.cuda.max_memory_allocated` says it: of
            tensors, rounded, and of what libraries borrow for their kernels.
        reserved: taken from the card for that, as `torch.cuda.max_memory_reserved` says it.
        context: of the process, beside that; at least.
        context_most: likewise, at the most.
    """

    allocated: int
    reserved: int
    context: int
    context_most: int

    @property
    def least(self) -> int:
        """Needed on the card, if the allocator keeps nothing that is unused."""
        return self.allocated + self.context

    @property
    def most(self) -> int:
        """Needed on the card, if nothing makes the allocator give back what is unused."""
        return self.reserved + self.context_most

    def cells(self) -> tuple[str, ...]:
        """Allocated, reserved, and what is needed on the card at least and at most, for a table."""
        return tuple(map(format_bytes, (self.allocated, self.reserved, self.least, self.most)))

    def describe(self) -> str:
        """In words, for people."""
        return (
            f"{format_bytes(self.allocated)} allocated, {format_bytes(self.reserved)} reserved, "
            f"{format_bytes(self.least)} to {format_bytes(self.most)} needed on the card"
        )
