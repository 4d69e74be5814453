"""An index of classes that dpnb does not have is planned for with those of diffusers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

import dpnb
from dpnb.errors import CheckpointError, ComponentError, ForeignCodeError
from dpnb.loading.weights.common_dtype import find_common_dtype
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.planner import plan
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import WeightSizes, idle_weight_bytes
from tests.hub_server import HubServer
from tests.planning.z_image import PUBLISHED, SMALL, write_z_image
from tests.reference.checkpoints import pipeline
from tests.reference.foreign import kolors

SIZE: dict[str, Any] = {"height": 64, "width": 64, "steps": 2, "device": "RTX 3060"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("z-image")
    write_z_image(target, SMALL)
    return target


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def shapes(pipe: Any) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {
        f"{name}.{key}": (value.shape, value.dtype)
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
    }


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_has_the_shapes_and_dtypes_of_what_diffusers_loads(folder: Path, dtype: str) -> None:
    loaded = diffusers.ZImagePipeline.from_pretrained(folder, dtype=getattr(torch, dtype))
    studio = build_valueless_pipeline(folder, ValuelessTensors(), dtype)
    assert type(studio.pipe).__mro__[1] is diffusers.ZImagePipeline
    assert shapes(studio.pipe) == shapes(loaded)


def test_by_default_weights_keep_the_dtype_of_their_file(folder: Path) -> None:
    studio = build_valueless_pipeline(folder, ValuelessTensors())
    assert {dtype for _, dtype in shapes(studio.pipe).values()} == {torch.bfloat16}


def test_the_plan_holds_what_diffusers_own_run_holds(folder: Path) -> None:
    pipe = diffusers.ZImagePipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    weights = idle_weight_bytes(dpnb.attach(pipe).strategies.networks)
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe("red apple", height=64, width=64, num_inference_steps=2, output_type="np")
    expected = {name: stage.peak + weights for name, stage in trace.by_stage().items()}
    cpu = {**SIZE, "device": "cpu"}
    assert plan(folder, **cpu, plans=[frozenset()]).rows[0].peaks == expected


def test_what_is_kept_beside_weights_is_loaded_in_their_dtype(tmp_path: Path) -> None:
    kolors.CASES[0].build().save_pretrained(tmp_path)
    loaded = diffusers.KolorsPipeline.from_pretrained(tmp_path, dtype=torch.float16)
    studio = build_valueless_pipeline(tmp_path, ValuelessTensors(), "float16")
    assert shapes(studio.pipe) == shapes(loaded)
    assert shapes(loaded)["text_encoder.rotary_pos_emb.inv_freq"][1] == torch.float16


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_kolors_is_planned_to_the_byte_from_its_folder(tmp_path: Path) -> None:
    pipe = kolors.CASES[0].build()
    pipe.save_pretrained(tmp_path)
    weights = idle_weight_bytes(dpnb.attach(pipe).strategies.networks)
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe("red apple", height=32, width=32, num_inference_steps=2, output_type="np")
    expected = {name: stage.peak + weights for name, stage in trace.by_stage().items()}
    small: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "device": "cpu"}
    assert plan(tmp_path, **small, plans=[frozenset()]).rows[0].peaks == expected


def test_without_steps_its_own_default_is_counted(folder: Path) -> None:
    table = plan(folder, height=64, width=64, device="RTX 3060", plans=[frozenset()])
    assert table.workload.steps == 50
    step = table.rows[0]
    assert step.seconds > 49 * step.seconds_per_step


@pytest.mark.slow
def test_of_a_repository_only_small_files_and_headers_are_fetched(
    hub: HubServer, folder: Path
) -> None:
    hub.add("someone/z-image", folder)
    plans = [frozenset[Any]()]
    found = plan("someone/z-image", plans=plans, **SIZE)
    assert found.rows == plan(folder, plans=plans, **SIZE).rows
    asked = [r for r in hub.requests if r.method == "GET" and "safetensors" in r.path]
    assert asked
    assert all("range" in request.headers for request in asked)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "layers.0.attention.to_q.weight"),
        ("text_encoder/model.safetensors", "model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_a_header_that_disagrees_with_the_settings_is_refused(
    copied: Path, file: str, key: str
) -> None:
    weights = load_file(copied / file)
    save_file({**weights, key: torch.zeros(3, 32)}, copied / file)
    with pytest.raises(CheckpointError, match=r"has shape \(3, 32\) where the settings give"):
        build_valueless_pipeline(copied, ValuelessTensors())


def test_weights_that_are_not_there_are_named(copied: Path) -> None:
    file = copied / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["layers.0.attention.to_q.weight"]
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of ZImage.*layers\.0\.att.*to_q"):
        build_valueless_pipeline(copied, ValuelessTensors())


def test_settings_of_a_far_larger_network_are_refused(copied: Path) -> None:
    change(copied / "transformer" / "config.json", dim=1 << 16, n_layers=10_000)
    with pytest.raises(CheckpointError, match="its weights are far fewer"):
        build_valueless_pipeline(copied, ValuelessTensors())


def test_no_code_of_a_checkpoint_is_run(copied: Path, tmp_path: Path) -> None:
    canary = tmp_path / "executed"
    (copied / "transformer" / "planted.py").write_text(f"open({str(canary)!r}, 'w').close()")
    change(copied / "model_index.json", transformer=["planted", "Planted"])
    with pytest.raises(ForeignCodeError, match=r"run transformer/planted\.py of"):
        build_valueless_pipeline(copied, ValuelessTensors(), trust_remote_code=True)
    change(copied / "model_index.json", transformer=["os", "system"])
    with pytest.raises(ForeignCodeError, match="'os', which is neither"):
        build_valueless_pipeline(copied, ValuelessTensors())
    assert not canary.exists()


def test_a_component_that_is_not_named_is_missed(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    del index["vae"]
    (copied / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ComponentError, match="names no vae, which ZImagePipeline is made of"):
        build_valueless_pipeline(copied, ValuelessTensors())


def test_our_pipeline_with_a_foreign_scheduler_is_planned_for(tmp_path: Path) -> None:
    pipe = pipeline("sd1")
    pipe.scheduler = diffusers.DEISMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path)
    studio = build_valueless_pipeline(tmp_path, ValuelessTensors())
    assert studio.class_name == "StableDiffusionPipeline"
    assert type(studio.scheduler).__name__ == "DEISMultistepScheduler"


def test_what_diffusers_keeps_in_float32_is_planned_so(tmp_path: Path) -> None:
    network = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
    )
    network.to(torch.bfloat16).save_pretrained(tmp_path / "transformer")
    autoencoder = diffusers.AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1])
    diffusers.WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=autoencoder,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        transformer=network,
    ).save_pretrained(tmp_path)
    loaded = diffusers.WanPipeline.from_pretrained(
        tmp_path, dtype=torch.bfloat16, tokenizer=None, text_encoder=None
    )
    assert find_common_dtype(loaded.transformer.state_dict()) == torch.bfloat16
    studio = build_valueless_pipeline(tmp_path, ValuelessTensors(), "bfloat16")
    assert shapes(studio.pipe) == shapes(loaded)
    assert {dtype for _, dtype in shapes(loaded).values()} == {torch.bfloat16, torch.float32}


def test_loading_says_how_a_foreign_pipeline_is_attached(folder: Path) -> None:
    wanted = r"attach\(diffusers\.ZImagePipeline\.from_pretrained\(.*\)\), or .*dpnb\.plan\("
    with pytest.raises(CheckpointError, match=f"dpnb has no ZImagePipeline; .*{wanted}"):
        dpnb.DiffusionPipeline.from_pretrained(folder)


@pytest.mark.slow
def test_z_image_has_the_published_weights(tmp_path: Path) -> None:
    write_z_image(tmp_path, PUBLISHED)
    studio = build_valueless_pipeline(tmp_path, ValuelessTensors())
    sizes = WeightSizes.of(studio.strategies.networks)
    published = {"transformer": 12.31e9, "text_encoder": 8.04e9}
    for name, nbytes in published.items():
        part = studio.parts()[name]
        assert sum(p.nbytes for p in part.parameters()) == pytest.approx(nbytes, rel=0.01)
    assert sizes.resident == pytest.approx(20.5e9, rel=0.01)


@pytest.mark.slow
def test_a_plan_for_z_image_at_its_true_size_takes_little(tmp_path: Path) -> None:
    """`bench_z_image` tries all plans, of larger pictures."""
    write_z_image(tmp_path, PUBLISHED)
    code = (
        "import sys, time, torch, diffusers, transformers\n"
        "from pathlib import Path\n"
        "from dpnb.planning.planner import plan\n"
        "started = time.process_time()\n"
        "size = {'height': 512, 'width': 512, 'dtype': 'bfloat16', 'device': 'RTX 4090'}\n"
        "table = plan(Path(sys.argv[1]), plans=[frozenset()], **size)\n"
        "took = time.process_time() - started\n"
        "status = Path('/proc/self/status').read_text().splitlines()\n"
        "most = next(line.split()[1] for line in status if line.startswith('VmHWM'))\n"
        "print(took, int(most) * 1024, table.rows[0].peak)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    took, most, peak = map(float, result.stdout.split())
    assert took <= 15
    assert most <= 1.5 * (1 << 30)
    assert 20.3e9 < peak < 23e9
