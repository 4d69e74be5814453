"""Words for how far two pictures differ, and the numbers that they begin at.

FLIP's mean is founded on what differences of a known size measure, everywhere in a picture, in a
photograph of 512 × 512 pixels and in drawings of 64 × 64: one level of 255 up or down at random
0.013 to 0.019; one unit of CIELAB in lightness 0.066 to 0.085; 2.3 units, the just noticeable
difference of Mahy et al. (1994), Color Research & Application 19, 0.12 to 0.155. The
model inside draws its 24 prompts from another seed with a difference of 0.052 on average (0.033 to
0.093), and with FreeU of 0.28 (0.17 to 0.40).
"""

from __future__ import annotations

from enum import Enum

from typing_extensions import override

from dpnb.numbers import parse_number


class Visibility(str, Enum):
    """How far two pictures differ, for people."""

    SAME = "the same"
    HIDDEN = "not visible side by side"
    FLIPPED = "visible when flipped"
    ANOTHER = "another picture"

    @override
    def __str__(self) -> str:
        return self.value


LIMITS: dict[Visibility, float] = {
    Visibility.SAME: 0.02,
    Visibility.HIDDEN: 0.07,
    Visibility.FLIPPED: 0.15,
}
"""The size of a difference up to which each word holds."""

WORST_SHARE = 3.0
"""What differs in one tile counts as much as a third of it everywhere."""


def difference_size(mean: float, worst: float) -> float:
    """How large a difference is, as one number: FLIP's mean, unless one place stands out.

    Args:
        mean: FLIP's, 0 to 1.
        worst: of the worst tile; above three times the mean, a third of it counts.
    """
    return max(mean, worst / WORST_SHARE)


def words_for(size: float) -> Visibility:
    """The word for a difference.

    Args:
        size: as `difference_size` says it.
    """
    return next((word for word, most in LIMITS.items() if size <= most), Visibility.ANOTHER)


def parse_max_difference(value: float | str) -> float:
    """The largest difference that is allowed, as a number.

    Args:
        value: 0 to 1, also as text; or one of `Visibility`'s words.

    Raises:
        ValueError: it is neither.
        TypeError: likewise.
    """
    if isinstance(value, str):
        words = {str(word): LIMITS.get(word, 1.0) for word in Visibility}
        if value.strip().lower() in words:
            return words[value.strip().lower()]
        try:
            value = float(value)
        except ValueError:
            known = ", ".join(repr(word) for word in words)
            raise ValueError(
                f"max_difference is {value!r}; give a number from 0 to 1, or one of {known}."
            ) from None
    return float(parse_number("max_difference", value, least=0, most=1))


def allows_changes(max_difference: float | str | None) -> bool:
    """Whether a limit leaves room for what is seen at all.

    Args:
        max_difference: as `parse_max_difference` takes it; `None` where nobody has asked.

    Raises:
        ValueError: it is no limit.
        TypeError: likewise.
    """
    if max_difference is None:
        return False
    return parse_max_difference(max_difference) > LIMITS[Visibility.SAME]
