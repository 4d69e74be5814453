from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.strategies.device_map import DeviceMap
from tests.strategies.foreign_owner import PartsStack
from tests.strategies.pipes import build, draw, live_bytes, networks, traces

pytestmark = pytest.mark.exhaustive


@pytest.fixture(params=["tiny-sd", "tiny-sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved pipeline."""
    build("tiny-sd").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def load(folder: Path, **options: Any) -> Any:
    loaded = dpnb.DiffusionPipeline.from_pretrained(folder, **options)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def weights(pipe: Any) -> int:
    """Bytes of all weights."""
    return sum(p.nbytes for network in networks(pipe).values() for p in network.parameters())


# --- the disk ---


@pytest.mark.slow
def test_weights_on_the_disk_take_no_memory(pipe: Any, tmp_path: Path) -> None:
    plain, total = draw(pipe), weights(pipe)
    before = live_bytes()
    pipe.strategies.enable(DeviceMap("disk", offload_folder=str(tmp_path)))
    assert before - live_bytes() >= 0.98 * total
    written = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert written == sorted(f"dpnb-{name}" for name in networks(pipe))
    assert torch.equal(draw(pipe), plain)
    pipe.strategies.use([])
    assert live_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_stays_on_the_disk_of_a_pipeline_that_is_gone(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(64, 64))
    stack = PartsStack(unet=network)
    stack.enable(DeviceMap("disk", offload_folder=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 1
    del stack, network
    gc.collect()
    assert list(tmp_path.iterdir()) == []


class Reading(nn.Module):
    """Computes with weights that are not those of a layer it calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.randn(8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.last = nn.Linear(8, 8)

    def shift(self, x: Tensor) -> Tensor:
        """A method beside `forward`, which that calls as well."""
        return x * self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Attention, and what lies around it."""
        x = self.shift(x) + self.scale
        out: Tensor = self.last(self.attention(x, x, x)[0]) + self.scale
        return out


@torch.no_grad()
def test_weights_on_the_disk_are_there_for_whoever_reads_them() -> None:
    network, x = Reading(), torch.ones(3, 1, 8)
    plain, shifted = network(x), network.shift(x)
    before = {name: (id(p), p.clone()) for name, p in network.named_parameters()}
    strategies = PartsStack(transformer=network)
    strategies.enable(DeviceMap("disk"))
    assert all(p.is_meta for p in network.last.parameters())
    for _ in range(2):
        assert torch.equal(network.shift(x), shifted)
        assert torch.equal(network(x), plain)
    with pytest.raises(RuntimeError):
        network.shift(torch.ones(3, 5))
    assert all(p.is_meta for p in network.last.parameters())
    strategies.use([])
    assert {n: id(p) for n, p in network.named_parameters()} == {
        n: i for n, (i, _) in before.items()
    }
    assert all(torch.equal(p, before[name][1]) for name, p in network.named_parameters())
    assert torch.equal(network(x), plain)


@pytest.mark.slow
def test_what_else_is_in_the_offload_folder_stays(pipe: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pipe.strategies.using(DeviceMap("disk", offload_folder=str(tmp_path))):
        draw(pipe)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_one_layer_is_in_memory_at_a_time(pipe: Any) -> None:
    pipe.strategies.enable(DeviceMap("disk"))
    layers: list[str] = []

    def look(module: nn.Module, *_: Any) -> None:
        here = [
            f"{name}.{path}"
            for name, network in networks(pipe).items()
            for path, p in network.named_parameters()
            if not p.is_meta
        ]
        assert len({path.rpartition(".")[0] for path in here}) <= 1
        layers.extend(here)

    with nn.modules.module.register_module_forward_hook(look):
        draw(pipe, steps=1)
    assert len(set(layers)) > 100


def test_a_layer_that_fails_goes_back(pipe: Any) -> None:
    pipe.strategies.enable(DeviceMap("disk"))
    layer = pipe.unet.mid_block.resnets[0].conv1
    handle = layer.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw(pipe)
    handle.remove()
    assert layer.weight.is_meta


def test_what_does_not_fit_goes_to_the_disk(pipe: Any) -> None:
    plain = draw(pipe)
    pipe.strategies.enable(DeviceMap.of("balanced", {"cpu": "1MB"}))
    resident = [
        p.nbytes
        for network in networks(pipe).values()
        for p in network.parameters()
        if not p.is_meta
    ]
    assert 0 < sum(resident) <= 10**6 < weights(pipe)
    assert "disk" in pipe.hf_device_map.values()
    assert torch.equal(draw(pipe), plain)


def test_what_is_whole_is_not_divided() -> None:
    pipe = build("tiny-flux")
    plain = draw(pipe)
    pipe.strategies.enable(DeviceMap.of("balanced", {"cpu": "0.94MB"}))
    parts = {path for path in pipe.hf_device_map if "transformer_blocks" in path}
    assert parts == {"transformer.transformer_blocks.0", "transformer.single_transformer_blocks"}
    assert torch.equal(draw(pipe), plain)


@pytest.mark.slow
def test_a_saved_pipeline_is_whole(pipe: Any, tmp_path: Path) -> None:
    plain = draw(pipe)
    pipe.strategies.enable(DeviceMap("disk"))
    pipe.save_pretrained(tmp_path)
    torch.testing.assert_close(draw(load(tmp_path)), plain, rtol=0, atol=1e-5)


# --- as from_pretrained takes it ---


@pytest.mark.parametrize(
    "device_map",
    ["balanced", "auto", "disk", {"unet": "cpu"}, {"unet.mid_block": "disk", "vae": "disk"}],
)
def test_a_pipeline_is_loaded_with_a_device_map(folder: Path, device_map: Any) -> None:
    plain = draw(load(folder))
    placed = load(folder, device_map=device_map, offload_state_dict=True)
    assert torch.equal(draw(placed), plain)
    assert placed.strategies.find(DeviceMap) is not None
    found = placed.hf_device_map
    expected = device_map.items() if isinstance(device_map, dict) else []
    assert set(expected) <= set(found.items())
    assert {name.partition(".")[0] for name in found} == {"unet", "vae", "text_encoder"}
    placed.reset_device_map()
    assert placed.hf_device_map is None
    assert placed.strategies.active == frozenset()
    assert torch.equal(draw(placed), plain)


def test_one_device_is_no_strategy(folder: Path) -> None:
    placed = load(folder, device_map="cpu")
    assert placed.hf_device_map == {"": "cpu"}
    assert placed.strategies.active == frozenset()
    placed.reset_device_map()
    assert placed.hf_device_map is None


def test_a_class_has_no_device_map() -> None:
    assert dpnb.StableDiffusionPipeline.hf_device_map is None
    assert build("tiny-sd").hf_device_map is None


def test_limits_need_a_map(folder: Path) -> None:
    with pytest.raises(ValueError, match='add device_map="balanced"'):
        load(folder, max_memory={"cpu": "1GB"})
    with pytest.raises(ValueError, match='add device_map="balanced"'):
        load(folder, offload_folder="somewhere")


def test_an_int_is_the_number_of_an_accelerator() -> None:
    made = DeviceMap.of({"unet": 1}, {0: "4GiB", "cpu": 2**30})
    assert made.device_map == (("unet", "cuda:1"),)
    assert made.max_memory == (("cuda:0", "4GiB"), ("cpu", str(2**30)))


# --- mistakes ---


@pytest.mark.parametrize(
    ("device_map", "sentence"),
    [
        ({"nothing": "cpu"}, "names 'nothing'; the components with weights are text_encoder"),
        ({"unet.nothing": "cpu"}, "names 'unet.nothing'; unet has no part 'nothing'"),
        ({"unet": 97}, "names cuda:97, which this machine does not have"),
        ({"unet.mid_block": 0, "unet.up_blocks": 1}, "divides unet among cuda:0 and cuda:1"),
    ],
)
def test_a_map_that_cannot_be_is_refused(device_map: Any, sentence: str) -> None:
    pipe = build("tiny-sd")
    before = traces(pipe)
    with pytest.raises(StrategyError, match=sentence):
        pipe.strategies.enable(DeviceMap.of(device_map))
    assert traces(pipe) == before


def test_a_limit_names_a_device_that_is_there() -> None:
    with pytest.raises(StrategyError, match="max_memory names cuda:9; there are"):
        build("tiny-sd").strategies.enable(DeviceMap.of("balanced", {9: "1GB"}))


@pytest.mark.parametrize("mistake", [{"device_map": "moon"}, {"max_memory": (("cpu", "much"),)}])
def test_a_value_that_is_none_is_refused_at_once(mistake: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"moon|much"):
        DeviceMap(**mistake)


# --- tensors follow ---


def test_nothing_is_allocated_where_all_is_in_place(pipe: Any) -> None:
    with TensorMeter() as meter:
        pipe.strategies.enable(DeviceMap())
    assert meter.peak == 0


@pytest.mark.gpu
def test_components_on_two_devices_draw_the_same_picture() -> None:
    pipe = build("tiny-sd")
    plain = draw(pipe)
    for device_map in (
        {"unet": 0},
        {"vae": 0, "unet": "cpu"},
        {"unet.mid_block": "disk", "vae": 0},
    ):
        pipe.strategies.enable(DeviceMap.of(device_map))
        torch.testing.assert_close(draw(pipe), plain, rtol=0, atol=1e-4)
