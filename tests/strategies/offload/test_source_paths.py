from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dpnb.models.unet import UNet2DConditionModel
from dpnb.strategies.offload.source_paths import SourcePath, find_paths, paths_in


class Network(nn.Module):
    """Reaches in many ways."""

    blocks: Any
    norm: Any
    other: Any

    def __init__(self) -> None:
        super().__init__()
        self.norm.weight.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        self.other.bias = x
        x = self.blocks[0].emb(x) + self.blocks[int(x)]["a"].scale
        return torch.cat([getattr(self.norm, "weight", x), x])

    def encode(self, x: Any) -> Any:
        return self.norm.apply_to(x) + x.blocks


class Derived(Network):
    """Has code of its own as well."""

    def decode(self) -> Tensor:
        found: Tensor = self.other.weight
        return found


PATHS = {
    ("blocks", "0", "emb"): (True, "forward"),
    ("blocks", "*", "a", "scale"): (False, "forward"),
    ("norm", "weight"): (False, "forward"),
    ("norm", "apply_to"): (True, "encode"),
}


def test_paths_begin_at_self_and_are_read() -> None:
    found = {path.names: (path.is_called, path.function) for path in find_paths(Network)}
    assert found.items() >= PATHS.items()
    assert len(found) == len(PATHS)


def test_code_down_to_forward_counts() -> None:
    assert paths_in(Network) == find_paths(Network)
    own = SourcePath(("other", "weight"), False, "decode")
    assert paths_in(Derived) == paths_in(Network) | find_paths(Derived)
    assert own in find_paths(Derived)


def test_networks_of_dpnb_call_their_blocks_as_wholes() -> None:
    assert find_paths(UNet2DConditionModel)
    assert not paths_in(UNet2DConditionModel)


def test_a_path_goes_on_behind_a_component() -> None:
    path = SourcePath(("vae", "bn", "running_mean"), False, "decode")
    assert list(path.behind("vae")) == [SourcePath(("bn", "running_mean"), False, "decode")]
    assert not list(path.behind("unet"))
    assert not list(SourcePath(("vae",), True, "decode").behind("vae"))


def test_code_written_at_a_prompt_has_no_paths() -> None:
    scope: dict[str, Any] = {"nn": nn}
    exec("class Typed(nn.Module):\n    def forward(self): return self.a.b", scope)
    assert not paths_in(scope["Typed"])
