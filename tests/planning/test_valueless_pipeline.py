"""Checkpoints are planned for by their settings and the headers of their weights."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import dpnb
from dpnb import ConditioningCache, LayerwiseCasting, ModelOffload, QKVFusion, SequentialOffload
from dpnb.errors import CheckpointError, ForeignCodeError, HubError
from dpnb.loading.weights.safetensors_headers import read_headers
from dpnb.planning.planner import plan
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.strategies.attention import XFormers
from dpnb.strategies.strategy import Strategy
from tests.hub_server import HubServer
from tests.strategies.pipes import LINK, SAMPLES_OF, build, draw, traces

SIZE: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "device": "RTX 3060"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model")
    dpnb.random_pipeline("tiny-sdxl", dtype="bfloat16").save_pretrained(target)
    return target


def shapes(pipe: Any) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {
        f"{name}.{key}": (value.shape, value.dtype)
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
    }


def test_a_folder_has_the_shapes_and_dtypes_of_what_would_be_loaded(folder: Path) -> None:
    loaded = dpnb.DiffusionPipeline.from_pretrained(folder, dtype="auto")
    assert shapes(build_valueless_pipeline(folder, ValuelessTensors())) == shapes(loaded)
    assert shapes(build_valueless_pipeline(folder, ValuelessTensors(), "float16")) == shapes(
        loaded.to(torch.float16)
    )


@pytest.mark.slow
def test_of_a_repository_only_small_files_and_headers_are_fetched(
    hub: HubServer, folder: Path
) -> None:
    hub.add("someone/model", folder)
    table = plan("someone/model", **SIZE)
    assert [row.peaks for row in table] == [row.peaks for row in plan(folder, **SIZE)]
    weights = [file for file in hub.fetched() if file.endswith(".safetensors")]
    assert weights
    asked = [r for r in hub.requests if r.method == "GET" and "safetensors" in r.path]
    assert all("range" in request.headers for request in asked)
    ends = [int(span.partition("-")[2]) for span in hub.ranges()]
    assert max(ends) <= 100_000


def download(hub: HubServer, folder: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    """The options that plan from a cache into which a model was downloaded."""
    hub.add("someone/model", folder)
    cache = {"cache_dir": tmp_path / "cache", **options}
    dpnb.DiffusionPipeline.download("someone/model", **cache)
    hub.requests.clear()
    return cache


def planned(name: str, **options: Any) -> dict[str, Any]:
    return shapes(build_valueless_pipeline(name, ValuelessTensors(), **options))


@pytest.mark.slow
def test_a_repository_in_the_cache_is_planned_for_without_a_hub(
    hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = download(hub, folder, tmp_path)
    expected = shapes(build_valueless_pipeline(folder, ValuelessTensors()))
    assert planned("someone/model", local_files_only=True, **cache) == expected
    assert hub.requests == []
    hub.failure = 503
    assert planned("someone/model", **cache) == expected
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert planned("someone/model", **cache) == expected
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert planned("someone/model", **cache) == expected


@pytest.mark.slow
def test_a_commit_in_the_cache_is_planned_for_as_it_was(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    cache = download(hub, folder, tmp_path)
    commit = hub.repositories["someone/model"].branches["main"]
    hub.add("someone/model", {"model_index.json": b"{}"})
    for options in ({"local_files_only": True}, {"revision": commit, "local_files_only": True}):
        assert planned("someone/model", **cache, **options) == shapes(
            build_valueless_pipeline(folder, ValuelessTensors())
        )


@pytest.mark.slow
def test_of_a_repository_that_is_partly_cached_the_rest_is_fetched(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    cache = download(hub, folder, tmp_path)
    snapshot = next((tmp_path / "cache" / "models--someone--model" / "snapshots").iterdir())
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (snapshot / "text_encoder" / "model.safetensors").resolve().unlink()
    assert planned("someone/model", **cache) == shapes(
        build_valueless_pipeline(folder, ValuelessTensors())
    )
    assert {file for file in hub.fetched() if file.endswith("tensors")} == {
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert len(hub.ranges()) == 4
    with pytest.raises(HubError, match=r"'main' is not complete in the cache, .*text_e"):
        planned("someone/model", local_files_only=True, **cache)


@pytest.mark.parametrize("how", ["asked", "variable", "unreachable"])
def test_what_is_not_cached_is_said_in_one_sentence_without_a_hub(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    options: dict[str, Any] = {"cache_dir": tmp_path}
    if how == "asked":
        options["local_files_only"] = True
    elif how == "variable":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="someone/model at revision 'main' is not complete in the"):
        build_valueless_pipeline("someone/model", ValuelessTensors(), **options)
    assert hub.requests == []


def test_a_header_that_disagrees_with_the_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    for source in (p for p in folder.rglob("*") if p.is_file()):
        target = tmp_path / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    file = tmp_path / "text_encoder_2" / "model.safetensors"
    weights = load_file(file)
    name = next(key for key in weights if key.endswith("fc1.weight"))
    save_file({**weights, name: torch.zeros(3, 32)}, file)
    with pytest.raises(CheckpointError, match=r"fc1.weight has shape \(3, 32\)"):
        plan(tmp_path, **SIZE)
    config = tmp_path / "unet" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "cross_attention_dim": 32}))
    with pytest.raises(CheckpointError, match="where the settings give"):
        build_valueless_pipeline(tmp_path, ValuelessTensors())


def test_a_damaged_header_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="has no safetensors header"):
        read_headers(tmp_path, ["model.safetensors"])
    (tmp_path / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"oops")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_headers(tmp_path, ["model.safetensors"])


def test_a_repository_that_is_not_there_is_said_to_be_missing(hub: HubServer) -> None:
    with pytest.raises(HubError, match="someone/nothing"):
        plan("someone/nothing", **SIZE)


def test_weights_that_two_layers_share_are_one(tmp_path: Path) -> None:
    dpnb.random_pipeline("tiny-flux").save_pretrained(tmp_path)
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    pipes: list[Any] = [
        build_valueless_pipeline(tmp_path, ValuelessTensors()),
        build_valueless_pipeline("tiny-flux", ValuelessTensors()),
        loaded,
    ]
    for made in pipes:
        encoder = made.text_encoder_2
        assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
        assert shapes(made) == shapes(loaded)


def test_what_loading_keeps_in_float32_is_planned_so(tmp_path: Path) -> None:
    """transformers does so with layers of T5 that overflow in float16."""
    dpnb.random_pipeline("tiny-flux").save_pretrained(tmp_path)
    loaded: Any = dpnb.DiffusionPipeline.from_pretrained(tmp_path, dtype="float16")
    kinds = {p.dtype for p in loaded.text_encoder_2.parameters()}
    assert kinds == {torch.float16, torch.float32}
    pipes: list[Any] = [
        build_valueless_pipeline(tmp_path, ValuelessTensors(), "float16"),
        build_valueless_pipeline("tiny-flux", ValuelessTensors(), "float16"),
        dpnb.random_pipeline("tiny-flux", dtype="float16"),
    ]
    assert all(shapes(made) == shapes(loaded) for made in pipes)


# --- with something switched on ---

OFFLOADS: list[Strategy] = [ModelOffload(LINK), SequentialOffload(device=LINK)]
CASES = [
    (name, sample)
    for name, samples in SAMPLES_OF.items()
    for sample in samples
    if not isinstance(sample, XFormers)  # its package is not everywhere
]
built = cache(build)


def described(pipe: Any) -> dict[str, Any]:
    """Every module with the kinds of its attributes, and the layouts of its tensors."""
    return {
        f"{name}.{path}": (
            type(module),
            {key: type(value) for key, value in vars(module).items() if key != "dpnb_attachment"},
            list(module._modules),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            [(k, t.shape, t.stride(), t.dtype) for k, t in module.named_parameters(recurse=False)],
            [(k, t.tolist()) for k, t in module.named_buffers(recurse=False)],
        )
        for name, part in pipe.parts().items()
        if isinstance(part, torch.nn.Module)
        for path, module in part.named_modules()
    }


def memory(pipe: Any) -> list[tuple[int, int]]:
    """Where every tensor is."""
    return [
        (id(tensor), tensor.untyped_storage()._cdata)
        for part in pipe.parts().values()
        if isinstance(part, torch.nn.Module)
        for tensor in (*part.parameters(), *part.buffers())
    ]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "strategy"), CASES, ids=repr)
def test_what_is_switched_on_is_not_in_the_outline(name: str, strategy: Strategy) -> None:
    pipe = built(name)
    plain = described(build_valueless_pipeline(pipe, ValuelessTensors()))
    for active in ({strategy}, {strategy, OFFLOADS[1]}):
        if len({one.slot for one in active}) == len(active):
            pipe.strategies.use(active)
            before, traced = memory(pipe), traces(pipe)
            assert described(build_valueless_pipeline(pipe, ValuelessTensors())) == plain
            assert memory(pipe) == before
            assert traces(pipe) == traced
    pipe.strategies.use([])
    assert described(build_valueless_pipeline(pipe, ValuelessTensors())) == plain


@pytest.mark.slow
def test_planning_moves_nothing_and_predicts_the_same() -> None:
    pipe = built("tiny-sd")
    cached, sequential = ConditioningCache(), OFFLOADS[1]
    plans = [frozenset[Strategy](), frozenset({cached, sequential})]
    expected = plan(pipe, plans=plans, **SIZE)
    for active in ([sequential, cached], [OFFLOADS[0], QKVFusion(), LayerwiseCasting()]):
        pipe.strategies.use(active)
        draw(pipe)
        link, before = pipe.strategies.networks.link, memory(pipe)
        moved = link.moved
        assert moved > 0
        assert plan(pipe, plans=plans, **SIZE) == expected
        assert pipe.strategies.networks.link is link
        assert (link.moved, memory(pipe)) == (moved, before)
    pipe.strategies.use([])


def test_a_component_that_came_while_something_was_on_is_planned_for() -> None:
    pipe, other = build("tiny-sd"), dpnb.random_pipeline("tiny-sd", dtype="bfloat16")
    pipe.strategies.use([OFFLOADS[0], QKVFusion()])
    pipe.unet = other.components["unet"]
    planned = build_valueless_pipeline(pipe, ValuelessTensors())
    assert planned.components["unet"].dtype == torch.bfloat16
    pipe.to(torch.float64)
    planned = build_valueless_pipeline(pipe, ValuelessTensors())
    assert planned.components["unet"].dtype == torch.float64


def test_code_that_a_checkpoint_brings_along_is_not_run(folder: Path, tmp_path: Path) -> None:
    place, canary = tmp_path / "model", tmp_path / "executed"
    shutil.copytree(folder, place)
    (place / "unet" / "planted.py").write_text(f"open({str(canary)!r}, 'w').close()")
    index = json.loads((place / "model_index.json").read_text())
    index["unet"] = ["planted", "Planted"]
    (place / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ForeignCodeError, match=r"unet/planted\.py of"):
        plan(place, **SIZE)
    assert not canary.exists()
