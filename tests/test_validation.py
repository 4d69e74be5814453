"""Plain values as what a type declares: what is taken, and what is named as wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from dpnb.validation import Parsed, Range, from_plain, to_plain, validate


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True)
class Path:
    name: str
    points: tuple[Point, ...]
    marks: Mapping[str, int]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 3, 3),
        (int, 3.0, 3),
        (int, np.int64(3), 3),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (bool, True, True),
        (str, "", ""),
        (int | None, None, None),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, int], (1, 2), (1, 2)),
        (tuple[float, ...], np.array([0.5]), (0.5,)),
        (int | tuple[int | tuple[int, ...], ...], [1, [2, 3]], (1, (2, 3))),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (Literal["a", "b"], "c", "c"),
        (Annotated[int, Range(1, 4)], 4, 4),
        (Annotated[float, Range(-math.inf, 0)], -math.inf, -math.inf),
        (Annotated[str, Parsed(str.upper)], "a", "A"),
        (Any, {"a": [None]}, {"a": [None]}),
    ],
)
def test_what_a_type_declares_is_taken(kind: Any, value: Any, expected: Any) -> None:
    found = validate(kind, value, "it")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (int, True, "it is True; it must be int."),
        (int, 2.5, "it is 2.5; it must be int."),
        (int, "3", "it is '3'; it must be int."),
        (int, math.nan, "it is nan; it must be int."),
        (int, math.inf, "it is inf; it must be int."),
        (int, 10**40, "it must be int from"),
        (float, math.nan, "it is nan; it must be float from"),
        (float, 10**400, "it must be float"),
        (float, None, "it is None; it must be float."),
        (bool, 1, "it is 1; it must be bool."),
        (str, 1, "it is 1; it must be str."),
        (int | None, "x", "it is 'x'; it must be int or None."),
        (tuple[int, ...], "12", "it is '12'; it must be list."),
        (tuple[int, ...], {"a": 1}, "it must be list."),
        (tuple[int, int], [1], "it must be list of 2."),
        (tuple[int, ...], [1, None], "it[1] is None; it must be int."),
        (int | tuple[int, ...], 0.5, "it is 0.5; it must be int or list."),
        (Mapping[str, int], [], "it is []; it must be dict."),
        (Mapping[str, int], {"a": "b"}, "it.a is 'b'; it must be int."),
        (Literal["a", "b"], 3, "it is 3; it must be one of 'a', 'b'."),
        (Annotated[int, Range(1, 4)], 5, "it is 5; it must be int from 1 to 4."),
        (Annotated[int, Range(1, 4)] | None, [], "it must be int from 1 to 4 or None."),
        (str, ["a" * 500], "aaa...; it must be str."),
    ],
)
def test_what_it_does_not_is_refused(kind: Any, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validate(kind, value, "it")
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 200


def test_dataclasses_survive() -> None:
    path = Path("a", (Point(1), Point(2, 0.5)), {"b": 3})
    assert from_plain(Path, {**to_plain(path), "marks": {"b": 3}}) == path
    assert from_plain(Point, {"x": 1}) == Point(1)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"y": 1}, "Point has y; it needs x, y."),
        ({"x": 1, "z": 1}, "Point has x, z; it needs x, y."),
        ([], "Point is []; it must be dict."),
        ({"x": {}}, "Point.x is {}; it must be int."),
    ],
)
def test_what_is_no_such_dataclass_is_refused(values: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        from_plain(Point, values)
    assert str(caught.value) == sentence
