"""What prompts are encoded to."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest

import dpnb

ELSEWHERE = {"text_ids"}
"""What FLUX computes of prompts and no call takes."""


@pytest.mark.parametrize(
    "kind",
    [
        dpnb.FluxPipeline,
        dpnb.StableDiffusionLatentUpscalePipeline,
        dpnb.StableDiffusionPipeline,
        dpnb.StableDiffusionXLPipeline,
    ],
)
def test_embeddings_are_returned_by_the_names_that_a_call_takes(kind: type) -> None:
    source = textwrap.dedent(inspect.getsource(vars(kind)["encode_prompt"]))
    (last,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Return))
    assert isinstance(last.value, ast.Tuple)
    names = {ast.unparse(one) for one in last.value.elts}
    assert names - ELSEWHERE <= inspect.signature(vars(kind)["__call__"]).parameters.keys()
