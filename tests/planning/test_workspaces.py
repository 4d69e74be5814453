"""What libraries take of a card, by its generation."""

from __future__ import annotations

import pytest
import torch

from dpnb.planning.workspaces import AttentionKind, CardLibraries

MIB = 1 << 20


@pytest.mark.parametrize(
    ("capability", "environment", "expected"),
    [
        ((8, 9), {}, (8 * MIB + 128 * 1024, MIB)),
        ((9, 0), {}, (32 * MIB, MIB)),
        ((12, 0), {}, (32 * MIB, MIB)),
        ((9, 0), {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, (32 * MIB, MIB)),
        ((8, 0), {"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, (128 * 1024, MIB)),
        ((8, 0), {"CUBLASLT_WORKSPACE_SIZE": "4096"}, (8 * MIB + 128 * 1024, 4 * MIB)),
        ((8, 0), {"CUBLASLT_WORKSPACE_SIZE": "much"}, (8 * MIB + 128 * 1024, MIB)),
    ],
)
def test_cublas_has_workspaces_as_the_environment_says(
    capability: tuple[int, int], environment: dict[str, str], expected: tuple[int, int]
) -> None:
    assert CardLibraries(capability).workspaces(environment) == expected


@pytest.mark.parametrize(
    ("capability", "dtype", "head", "has_mask", "kind"),
    [
        ((8, 0), torch.float16, 256, False, AttentionKind.FLASH),
        ((8, 0), torch.bfloat16, 40, False, AttentionKind.FLASH),
        ((8, 0), torch.float16, 512, False, AttentionKind.EFFICIENT),
        ((8, 0), torch.float16, 64, True, AttentionKind.EFFICIENT),
        ((8, 0), torch.float32, 64, False, AttentionKind.EFFICIENT),
        ((7, 5), torch.float16, 64, False, AttentionKind.EFFICIENT),
        ((6, 0), torch.float16, 64, False, AttentionKind.EFFICIENT),
        ((9, 0), torch.float64, 64, False, AttentionKind.MATH),
    ],
)
def test_torch_chooses_a_kernel_of_attention(
    capability: tuple[int, int], dtype: torch.dtype, head: int, has_mask: bool, kind: AttentionKind
) -> None:
    assert CardLibraries(capability).attention(dtype, head, has_mask=has_mask) is kind


def test_the_plain_kernel_holds_scores_twice() -> None:
    query = torch.empty(1, 2, 16, 8, dtype=torch.float64)
    key = torch.empty(1, 2, 32, 8, dtype=torch.float64)
    scratch = CardLibraries((8, 0)).attention_scratch(query, key, has_mask=False)
    assert scratch == 2 * (2 * 16 * 32) * 8


def test_newer_cards_have_larger_contexts_and_more_dtypes() -> None:
    generations = [CardLibraries(one) for one in [(7, 5), (8, 6), (8, 9), (9, 0)]]
    contexts = [one.context for one in generations]
    assert contexts == sorted(contexts)
    assert all(0 < least < most < 1 << 30 for least, most in contexts)
    assert [one.lacks(torch.bfloat16) for one in generations] == [True, False, False, False]
    assert not any(one.lacks(torch.float16) for one in generations)


def test_a_generation_that_nobody_knows_yet_is_like_the_last() -> None:
    assert CardLibraries((13, 0)).context == CardLibraries((10, 0)).context
    assert CardLibraries((5, 2)).context == CardLibraries((6, 0)).context
