"""Errors: every public one can be caught by name, and says a sentence."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

import dpnb
from dpnb.stages import Stage

PACKAGE = Path(dpnb.__file__).parent

PUBLIC = sorted(
    node.name
    for file in PACKAGE.rglob("*.py")
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    if not node.name.startswith("_")
)


def test_the_package_has_errors() -> None:
    assert {"DpnbError", "NonFiniteError", "OutOfMemoryError", "StrategyError"} <= {*PUBLIC}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_error_is_exported(name: str) -> None:
    assert name in dpnb.__all__
    kind = getattr(dpnb, name)
    assert issubclass(kind, Exception)
    assert issubclass(kind, (dpnb.DpnbError, ValueError))


def test_one_about_numbers_survives_a_journey() -> None:
    error = dpnb.NonFiniteError("Decoding gave NaN.", "decoding", None, (1,))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.stage, again.step, again.pictures) == (
        "Decoding gave NaN.",
        "decoding",
        None,
        (1,),
    )


def test_one_about_memory_survives_a_journey() -> None:
    error = dpnb.OutOfMemoryError(Stage.DECODING, dpnb.VaeTiling(), "CUDA out of memory")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.stage, again.relief) == (str(error), "decoding", dpnb.VaeTiling())
