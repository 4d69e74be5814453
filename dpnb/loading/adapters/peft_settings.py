"""What peft notes of an adapter beside its weights, as far as it decides what these do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from dpnb.errors import CheckpointError
from dpnb.loading.adapters.name_patterns import NamePattern, PatternError

UNLIKE: Mapping[str, str] = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "arrow_config": "Arrow, which chooses among adapters",
    "monteclora_config": "MonteCLoRA",
    "alora_invocation_tokens": "LoRA that some tokens switch on",
    "layer_replication": "LoRA for a network with repeated layers",
    "target_parameters": "LoRA of parameters that are no layer's weight",
    "trainable_token_indices": "trained tokens",
}
"""Settings that ask for another computation than plain LoRA, and what that is."""

_CHANGING = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Ways to begin a training that change the plain weights as well."""

_MOST = 20
"""Regular expressions in one table; trying one on every layer takes a while."""

_DEFAULT = 8
"""Rank and alpha where peft's settings do not say them."""

Patterns = tuple[tuple[NamePattern, float], ...]


@dataclass(frozen=True)
class AdapterSettings:
    """How the product of two matrices is scaled, by the names of layers.

    Attributes:
        origin: the file that says so.
        rank: of the matrices where no pattern says another.
        alpha: what the product is multiplied by, over the rank.
        ranks: patterns, of which the first that matches counts.
        alphas: likewise.
        is_rank_stabilized: whether alpha is divided by the root of the rank instead.
    """

    origin: str
    rank: float = _DEFAULT
    alpha: float = _DEFAULT
    ranks: Patterns = ()
    alphas: Patterns = ()
    is_rank_stabilized: bool = False

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str) -> Self:
        """The settings among `values`.

        Raises:
            CheckpointError: one is of the wrong kind, or asks for more than plain LoRA.
        """
        for key, kind in UNLIKE.items():
            if values.get(key):
                raise CheckpointError(
                    f"{origin} describes {kind} ({key}); only plain LoRA can be loaded."
                )
        if (kind := values.get("peft_type") or "LORA") != "LORA":
            raise CheckpointError(f"{origin} describes {kind!r}; only plain LoRA can be loaded.")
        if str(start := values.get("init_lora_weights")).startswith(_CHANGING):
            raise CheckpointError(
                f"{origin} says that the plain weights were changed before training "
                f"(init_lora_weights={start!r}); let peft save it as plain LoRA, with "
                "path_initial_model_for_weight_conversion."
            )
        return cls(
            origin,
            _number(origin, "r", values.get("r"), least=1),
            _number(origin, "lora_alpha", values.get("lora_alpha")),
            _patterns(origin, "rank_pattern", values.get("rank_pattern"), least=1),
            _patterns(origin, "alpha_pattern", values.get("alpha_pattern")),
            values.get("use_rslora") is True,
        )

    def scale(self, names: Iterable[str], rank: int) -> float:
        """What the product for a layer is multiplied by.

        Args:
            names: what the layer is called, in the file and in the network.
            rank: of its matrices.

        Raises:
            CheckpointError: the settings say another rank.
        """
        known = list(names)
        noted = _first(self.ranks, known, self.rank)
        if noted != rank:
            raise CheckpointError(
                f"{self.origin} says that {known[0]} has rank {noted:g}, and its matrices have "
                f"{rank}; use the settings that were saved with these weights."
            )
        alpha = _first(self.alphas, known, self.alpha)
        return alpha / (rank**0.5 if self.is_rank_stabilized else rank)


def parse_settings(text: str, origin: str) -> Mapping[str, Any]:
    """The table in a JSON text.

    Raises:
        CheckpointError: it is no JSON, or no table.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{origin} is no JSON ({reason}); save the adapter again.") from error
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{origin} is {str(values)[:40]!r}, not a table of settings; save the adapter again."
        )
    return values


def _first(patterns: Patterns, names: list[str], default: float) -> float:
    matching = (value for pattern, value in patterns if any(map(pattern.matches, names)))
    return next(matching, default)


def _patterns(origin: str, key: str, values: Any, least: float = -math.inf) -> Patterns:
    if values is None:
        return ()
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{origin} says {key}={str(values)[:40]}, which is no table; save the adapter again."
        )
    found = []
    for name, value in values.items():
        try:
            pattern = NamePattern(name)
        except PatternError as error:
            raise CheckpointError(
                f"{origin} names layers by {name[:80]!r} in {key}, of which dpnb does not read "
                f"{error}; name each layer there."
            ) from error
        found.append((pattern, _number(origin, f"{key}[{name[:80]!r}]", value, least)))
    if (count := sum(not pattern.is_plain for pattern, _ in found)) > _MOST:
        raise CheckpointError(
            f"{origin} has {count} regular expressions in {key}, and dpnb reads {_MOST} at most; "
            "name each layer there."
        )
    return tuple(found)


def _number(origin: str, key: str, value: Any, least: float = -math.inf) -> float:
    if value is None:
        return _DEFAULT
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < least:
        rule = "a finite number" if least == -math.inf else f"{least:g} or more"
        raise CheckpointError(
            f"{origin} says {key}={str(value)[:40]}; it must be {rule}; save the adapter again."
        )
    return float(value)
