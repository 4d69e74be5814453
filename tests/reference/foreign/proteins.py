"""A small pipeline that draws proteins: RFD4-Proteina."""

from __future__ import annotations

from typing import Any

import torch

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import make_case

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

RESIDUES = 12
"""Kinds of residues, of which the first stands for one that is not known."""

TOKENS = 6

SHARED: dict[str, Any] = {
    "nlayers": 2,
    "token_dim": 32,
    "nheads": 2,
    "dim_cond": 16,
    "pair_repr_dim": 16,
    "latent_dim": 4,
    "token_type_emb_dim": 8,
}


def _transformer() -> Any:
    return diffusers.RFD4ProteinaTransformer(
        **SHARED,
        t_emb_dim=16,
        xt_pair_dist_dim=8,
        tri_mult_c=16,
        feats_seq=("xt_bb_ca", "xt_local_latents", "token_type"),
        feats_cond_seq=("time_emb_bb_ca", "time_emb_local_latents", "recycle_remaining"),
        feats_pair_repr=("xt_bb_ca_pair_dists",),
        num_sequence_classes=RESIDUES,
    )


def _vae() -> Any:
    return diffusers.RFD4ProteinaAutoencoder(
        [[True] * 37] * RESIDUES,
        [[True] * RESIDUES] * 7,
        **SHARED,
        n_residue_types=RESIDUES,
        encoder_feats_seq=("token_type", "x1_a37coors_nm"),
    )


def _scheduler(schedule: str, noise: str) -> Any:
    return diffusers.RFD4ProteinaScheduler(schedule, noise, tsr_k=0.1, tsr_sigma=1.0, tail_steps=1)


def _parts() -> dict[str, Any]:
    return {
        "transformer": _transformer(),
        "vae": _vae(),
        "bb_ca_scheduler": _scheduler("log", "1/t"),
        "local_latents_scheduler": _scheduler("power", "tan"),
        "recycle_depths": [2, 1, 1],
    }


def _ask() -> dict[str, Any]:
    there = torch.ones(1, TOKENS, dtype=torch.bool)
    given = {
        "condition_sequence_1_residue": torch.zeros(1, TOKENS, dtype=torch.long),
        "molecule_iid": torch.zeros(1, TOKENS, dtype=torch.long),
    }
    return {
        "padding_mask": there,
        "is_in_context_conditioning": ~there,
        "supports_local_latent": there,
        "token_type": torch.zeros(1, TOKENS, dtype=torch.long),
        "atom37_mask": torch.ones(1, TOKENS, 37, dtype=torch.bool),
        "conditioning_features": given,
        "generator": torch.Generator().manual_seed(0),
    }


CASES: tuple[ForeignCase, ...] = (make_case("RFD4ProteinaPipeline", _parts, _ask),)
