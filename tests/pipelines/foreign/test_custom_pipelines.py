"""Pipelines whose code is not part of the package, in all the places where it may be."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

import dpnb
from dpnb.errors import CheckpointError, ForeignCodeError, ForeignNameError, HubError
from dpnb.loading.components.registry import CUSTOM_PACKAGE
from dpnb.loading.weights.weight_files import write_weights
from dpnb.pipelines.shapes.architectures import TINY_CLIP
from tests.hub_server import HubServer

COMMUNITY = Path(__file__).parent / "community"
ONE_STEP = COMMUNITY / "one_step.py"
GUIDED = COMMUNITY / "guided.py"
MIRROR = "datasets/diffusers/community-pipelines-mirror"
TRUSTED: dict[str, Any] = {"trust_remote_code": True}
HEADER = "from diffusers import DiffusionPipeline\n"

MINIMAL = """
from diffusers import DiffusionPipeline

class Own(DiffusionPipeline):
    made_by = "{}"

    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
"""


@pytest.fixture(scope="module")
def original() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.fixture(scope="module")
def tiny(original: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    original.save_pretrained(folder)
    return folder


def load(folder: str | Path, custom: str | Path, **how: Any) -> Any:
    pipe = dpnb.DiffusionPipeline.from_pretrained(
        folder, custom_pipeline=custom, **{**TRUSTED, **how}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def foreign_modules() -> dict[str, ModuleType]:
    return {n: m for n, m in sys.modules.items() if not n.startswith(CUSTOM_PACKAGE)}


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def copy(folder: Path, target: Path, original: Any) -> Path:
    original.save_pretrained(target)
    return target


# --- where the code is ---


def test_a_file_runs_on_our_classes(tiny: Path, original: Any) -> None:
    pipe = load(tiny, ONE_STEP)
    assert type(pipe).__name__ == "OneStepPipeline"
    assert issubclass(type(pipe), dpnb.DiffusionPipeline)
    assert isinstance(pipe.unet, dpnb.UNet2DConditionModel)
    assert pipe.components.keys() == {"unet", "scheduler"}
    again = type(pipe)(unet=original.unet, scheduler=original.scheduler)
    again.set_progress_bar_config(disable=True)
    drawn = pipe(generator=seeded()).images
    assert torch.equal(drawn, again(generator=seeded()).images)
    assert drawn.isfinite().all()


def test_a_folder_holds_a_pipeline_file(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(MINIMAL.format("folder"))
    assert load(tiny, tmp_path).made_by == "folder"


def test_a_folder_may_name_its_file_in_an_index(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINIMAL.format("index"))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": ["mine", "Own"]}))
    assert load(tiny, tmp_path).made_by == "index"


@pytest.mark.slow
def test_a_repository_holds_a_pipeline_file(tiny: Path, hub: HubServer, tmp_path: Path) -> None:
    hub.add("someone/code", {"pipeline.py": MINIMAL.format("main").encode(), "big.bin": b"0"})
    hub.add("someone/code", {"pipeline.py": MINIMAL.format("next").encode()}, branch="next")
    assert load(tiny, "someone/code", cache_dir=tmp_path).made_by == "main"
    assert "big.bin" not in hub.fetched()
    found = load(tiny, "someone/code", custom_revision="next", cache_dir=tmp_path)
    assert found.made_by == "next"
    dpnb.DiffusionPipeline.download(
        tiny, custom_pipeline="someone/code", cache_dir=tmp_path, **TRUSTED
    )
    asked = len(hub.requests)
    again = load(tiny, "someone/code", cache_dir=tmp_path, local_files_only=True)
    assert again.made_by == "main"
    assert len(hub.requests) == asked


def test_a_community_name_is_looked_up_in_the_mirror(
    tiny: Path, hub: HubServer, tmp_path: Path
) -> None:
    files = {
        "v0.42.1/own.py": MINIMAL.format("today"),
        "v0.30.0/own.py": MINIMAL.format("then") + "# long\n" * 500,
        "main/own.py": MINIMAL.format("main"),
        "main/late.py": MINIMAL.format("late"),
    }
    hub.add(MIRROR, {name: text.encode() for name, text in files.items()})
    how = {"cache_dir": tmp_path}
    assert load(tiny, "own", **how).made_by == "today"
    assert load(tiny, "own", custom_revision="0.30.0", **how).made_by == "then"
    assert load(tiny, "own", custom_revision="main", **how).made_by == "main"
    assert load(tiny, "late", **how).made_by == "late"
    with pytest.raises(HubError, match=r"no community pipeline 'none' for diffusers v0\.42\.1"):
        load(tiny, "none", **how)
    asked = len(hub.requests)
    assert load(tiny, "late", local_files_only=True, **how).made_by == "late"
    assert len(hub.requests) == asked


def test_the_checkpoints_own_file_comes_before_the_community(
    original: Any, hub: HubServer, tmp_path: Path
) -> None:
    original.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "mine.py").write_text(MINIMAL.format("own"))
    hub.add("someone/tiny", tmp_path / "a")
    assert load(tmp_path / "a", "mine").made_by == "own"
    assert load("someone/tiny", "mine", cache_dir=tmp_path / "cache").made_by == "own"


def test_an_index_may_name_a_file_beside_it(original: Any, hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    original.save_pretrained(folder)
    edit(folder, _class_name=["own_pipeline", "Own"])
    (folder / "own_pipeline.py").write_text(MINIMAL.format("index"))
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder, **TRUSTED)
    assert pipe.made_by == "index"
    hub.add("someone/own", folder)
    there = dpnb.DiffusionPipeline.from_pretrained(
        "someone/own", cache_dir=tmp_path / "cache", **TRUSTED
    )
    assert there.made_by == "index"
    plain = dpnb.StableDiffusionPipeline.from_pretrained(folder)
    assert type(plain) is dpnb.StableDiffusionPipeline


def test_another_pipeline_may_be_built_around_the_components(original: Any) -> None:
    made: Any = dpnb.DiffusionPipeline.from_pipe(
        original, custom_pipeline=str(ONE_STEP), trust_remote_code=True
    )
    assert type(made).__name__ == "OneStepPipeline"
    assert made.unet is original.unet


# --- what it may do ---


def clip() -> Any:
    torch.manual_seed(0)
    text = CLIPTextConfig(**TINY_CLIP, bos_token_id=998, eos_token_id=999, pad_token_id=999)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=16, patch_size=8, projection_dim=32,
    )  # fmt: skip
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32
    )
    return CLIPModel(config).eval()


@pytest.mark.parametrize("scheduler", [dpnb.DDIMScheduler, dpnb.LMSDiscreteScheduler])
def test_a_pipeline_steers_by_gradients_through_the_networks(tiny: Path, scheduler: Any) -> None:
    extractor = CLIPImageProcessor(size={"shortest_edge": 16})
    pipe = load(tiny, GUIDED, clip_model=clip(), feature_extractor=extractor)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    plain, steered = (
        np.asarray(pipe("a cat", clip_guidance_scale=scale, generator=seeded()).images[0])
        for scale in (0.0, 1e4)
    )
    assert plain.shape == (32, 32, 3)
    assert not np.array_equal(plain, steered)
    pipe.scheduler.set_timesteps(2)
    noise = torch.randn(1, 4, 16, 16, generator=seeded())
    words, wanted = torch.zeros(1, 77, 32), torch.ones(1, 32)
    gradient = pipe.steer(noise, pipe.scheduler.timesteps[0], words, wanted)
    assert gradient.shape == noise.shape
    assert gradient.abs().max() > 0


def test_imports_inside_functions_see_our_names_later_too(tiny: Path, tmp_path: Path) -> None:
    text = MINIMAL.format("late") + (
        "    def late(self):\n"
        "        import diffusers.models as models\n"
        "        from diffusers import DDIMScheduler\n"
        "        from .beside import there\n"
        "        from . import beside\n"
        "        assert beside.there is there\n"
        "        return DDIMScheduler, models.AutoencoderKL, there\n"
    )
    (tmp_path / "late.py").write_text(text)
    (tmp_path / "beside.py").write_text("from diffusers import LCMScheduler as there\n")
    found = load(tiny, tmp_path / "late.py").late()
    assert found == (dpnb.DDIMScheduler, dpnb.AutoencoderKL, dpnb.LCMScheduler)


@pytest.mark.slow
def test_what_is_saved_brings_its_code_along(original: Any, hub: HubServer, tmp_path: Path) -> None:
    parts = {n: p for n, p in original.components.items() if n != "safety_checker"}
    parts |= {"clip_model": clip(), "feature_extractor": CLIPImageProcessor()}
    own = dpnb.DiffusionPipeline.from_pipe(original, custom_pipeline=str(ONE_STEP), **TRUSTED)
    pipe = load(copy(tmp_path, tmp_path / "sd", original), GUIDED, **parts)
    pipe.save_pretrained(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").glob("*.py")}
    assert names == {"guided.py", "likeness.py"}
    with pytest.raises(ForeignCodeError, match=r"would run guided\.py of .*saved"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "saved")
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "saved", **TRUSTED)
    assert type(again).__name__ == "GuidedPipeline"
    own.push_to_hub("someone/own", token="any")
    there = dpnb.DiffusionPipeline.from_pretrained("someone/own", cache_dir=tmp_path, **TRUSTED)
    assert type(there).__name__ == "OneStepPipeline"


COMPONENT = """
import torch
from diffusers import ConfigMixin, ModelMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config

class Halver(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width=2, names=("a", "b")):
        super().__init__()
        self.linear = torch.nn.Linear(width, width)

    def forward(self, x):
        return self.linear(x) / 2

class Steady(SchedulerMixin, ConfigMixin):
    @register_to_config
    def __init__(self, pace=1):
        self.twice = 2 * pace
"""


@pytest.mark.slow
def test_components_may_bring_their_own_code(original: Any, hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    original.save_pretrained(folder)
    (folder / "unet" / "halver.py").write_text(COMPONENT)
    (folder / "unet" / "config.json").write_text(json.dumps({"width": 3, "other": 1}))
    (folder / "scheduler" / "steady.py").write_text(COMPONENT)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"pace": 4}))
    edit(folder, unet=["halver", "Halver"], scheduler=["steady", "Steady"])
    edit(folder, _class_name=["pipeline", "Own"])
    (folder / "pipeline.py").write_text(MINIMAL.format("index"))
    for old in (folder / "unet").glob("*.safetensors"):
        old.unlink()
    state = {"linear.weight": torch.eye(3), "linear.bias": torch.zeros(3)}
    write_weights(state, folder / "unet", "diffusion_pytorch_model")
    hub.add("someone/own", folder)
    with pytest.raises(ForeignCodeError, match=r"pipeline\.py of someone/own"):
        dpnb.DiffusionPipeline.from_pretrained("someone/own", cache_dir=tmp_path / "cache")
    pipe = dpnb.DiffusionPipeline.from_pretrained(
        "someone/own", cache_dir=tmp_path / "cache", torch_dtype=torch.float16, **TRUSTED
    )
    check_components(pipe)
    pipe.save_pretrained(tmp_path / "again")
    again = dpnb.DiffusionPipeline.from_pretrained(
        tmp_path / "again", dtype=torch.float16, **TRUSTED
    )
    check_components(again)
    with pytest.raises(ValueError, match=r"no code \(that of unet\); save into a folder"):
        pipe.save_pretrained(tmp_path / "x.dduf")


def check_components(pipe: Any) -> None:
    assert type(pipe.unet).__name__ == "Halver"
    names = tuple(pipe.unet.config["names"])
    settings = {name: value for name, value in pipe.unet.config.items() if name[0] != "_"}
    assert {**settings, "names": names} == {"width": 3, "names": ("a", "b"), "other": 1}
    assert pipe.unet.config.width == 3
    half = torch.ones(1, 3, dtype=torch.float16)
    assert torch.equal(pipe.unet(half), half / 2)
    assert pipe.scheduler.twice == 8
    assert pipe.config["unet"] == ("halver", "Halver")


# --- what it may not do ---


@pytest.mark.parametrize("custom", [ONE_STEP, COMMUNITY, "someone/code", "own"])
def test_nothing_runs_or_is_fetched_without_trust(
    tiny: Path, hub: HubServer, tmp_path: Path, custom: str | Path
) -> None:
    hub.add("someone/code", {"pipeline.py": b"raise SystemExit"})
    hub.add(MIRROR, {"v0.42.1/own.py": b"raise SystemExit"})
    modules = set(sys.modules)
    with pytest.raises(ForeignCodeError, match=r"would run .* pass trust_remote_code=True") as err:
        dpnb.DiffusionPipeline.from_pretrained(tiny, custom_pipeline=custom, cache_dir=tmp_path)
    assert str(custom) in str(err.value)
    assert "\n" not in str(err.value)
    assert hub.requests == []
    assert {n for n in set(sys.modules) - modules if n.startswith(CUSTOM_PACKAGE)} == set()


@pytest.mark.slow
def test_code_of_a_component_does_not_run_without_trust(
    original: Any, hub: HubServer, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    original.save_pretrained(folder)
    edit(folder, unet=["halver", "Halver"])
    (folder / "unet" / "halver.py").write_text("raise SystemExit")
    hub.add("someone/own", folder)
    for name in (folder, "someone/own"):
        with pytest.raises(ForeignCodeError, match=r"would run unet/halver\.py of "):
            dpnb.DiffusionPipeline.from_pretrained(name, cache_dir=tmp_path / "cache")
    assert "unet/halver.py" not in hub.fetched()
    path = dpnb.DiffusionPipeline.download("someone/own", cache_dir=tmp_path / "cache")
    assert not (Path(path) / "unet" / "halver.py").exists()
    given = dpnb.DiffusionPipeline.from_pretrained(folder, unet=original.unet)
    assert given.unet is original.unet


def test_a_variable_forbids_all_code(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
    with pytest.raises(ForeignCodeError, match="DIFFUSERS_DISABLE_REMOTE_CODE forbids"):
        load(tiny, ONE_STEP)


def test_a_library_that_an_index_names_is_still_not_imported(original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path)
    edit(tmp_path, unet=["antigravity", "Anything"])
    with pytest.raises(ForeignCodeError, match="'antigravity'"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path, **TRUSTED)
    assert "antigravity" not in sys.modules


def test_no_code_outside_the_checkpoint_is_run(original: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    original.save_pretrained(folder)
    (tmp_path / "evil.py").write_text("raise SystemExit")
    edit(folder, _class_name=["../evil", "Own"])
    with pytest.raises(CheckpointError, match="names no pipeline class"):
        dpnb.DiffusionPipeline.from_pretrained(folder, **TRUSTED)
    edit(folder, _class_name="StableDiffusionPipeline", unet=["../../evil", "Own"])
    with pytest.raises(ForeignCodeError, match=r"'\.\./\.\./evil', which is neither"):
        dpnb.DiffusionPipeline.from_pretrained(folder, **TRUSTED)


MISTAKES: dict[str, tuple[str, type[Exception], str]] = {
    "name": ("from diffusers import FluxControlNet", ForeignNameError, "FluxControlNet of diff"),
    "deep": ("from diffusers.models.x import Nothing", ImportError, "Nothing of diffusers.mod"),
    "attribute": ("import diffusers\ndiffusers.Nothing", AttributeError, "Nothing of diffusers"),
    "transformers": ("from transformers import Nothing", ImportError, "Nothing"),
    "none": ("x = 1", CheckpointError, "and defines none"),
    "two": (
        f"{HEADER}class A(DiffusionPipeline): pass\nclass B(DiffusionPipeline): pass",
        CheckpointError,
        "and defines A, B",
    ),
    "beyond": ("from ..secret import x", ImportError, "beyond top-level package"),
    "missing": ("from .nothing import x", ImportError, "nothing"),
    "syntax": ("def", SyntaxError, "invalid syntax"),
}


@pytest.mark.parametrize(("text", "kind", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_that_does_not_load_says_why_and_leaves_nothing(
    tiny: Path, tmp_path: Path, text: str, kind: type[Exception], sentence: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    before = set(sys.modules)
    with pytest.raises(kind, match=sentence):
        load(tiny, tmp_path / "bad.py")
    assert not [n for n in set(sys.modules) - before if n.startswith(CUSTOM_PACKAGE)] or (
        kind is CheckpointError
    )


def test_of_a_family_the_last_descendant_is_meant(tiny: Path, tmp_path: Path) -> None:
    text = MINIMAL.format("base") + "class Final(Own):\n    made_by = 'last'\n"
    (tmp_path / "family.py").write_text(text)
    assert load(tiny, tmp_path / "family.py").made_by == "last"


def test_an_edited_file_is_read_again(tiny: Path, tmp_path: Path) -> None:
    for word in ("first", "second"):
        (tmp_path / "mine.py").write_text(f"from .word import WORD\n{MINIMAL.format(word)}")
        (tmp_path / "word.py").write_text(f"WORD = '{word}'")
        pipe = load(tiny, tmp_path / "mine.py")
        assert pipe.made_by == word
        assert word == sys.modules[type(pipe).__module__].WORD


# --- what stays as it was ---


@pytest.mark.slow
def test_the_real_diffusers_is_left_as_it_is(tiny: Path) -> None:
    import diffusers

    before = foreign_modules()
    pipe = load(tiny, ONE_STEP)
    assert foreign_modules() == before
    assert sys.modules["diffusers"] is diffusers
    assert not isinstance(pipe, diffusers.DiffusionPipeline)
    assert isinstance(pipe, dpnb.DiffusionPipeline)


@pytest.mark.slow
def test_diffusers_need_not_be_installed(tiny: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['diffusers'] = None\n"
        "import dpnb\n"
        "pipe = dpnb.DiffusionPipeline.from_pretrained(\n"
        "    sys.argv[1], custom_pipeline=sys.argv[2], trust_remote_code=True)\n"
        "assert sys.modules['diffusers'] is None\n"
        "print(type(pipe).__name__)\n"
    )
    command = [sys.executable, "-c", code, str(tiny), str(ONE_STEP)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "OneStepPipeline\n"


@pytest.mark.slow
def test_threads_may_load_code_at_once(tiny: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pipeline.py").write_text(MINIMAL.format(name))
    found: list[str] = []

    def work(name: str) -> None:
        for _ in range(3):
            found.append(load(tiny, tmp_path / name).made_by)

    threads = [threading.Thread(target=work, args=(name,)) for name in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["a"] * 6 + ["b"] * 6


def test_switches_and_placements_reach_a_custom_pipeline(tiny: Path) -> None:
    pipe = load(tiny, ONE_STEP)
    plain = pipe(generator=seeded()).images
    pipe.enable_attention_slicing("max")
    assert torch.allclose(pipe(generator=seeded()).images, plain, atol=1e-5)
    pipe.to(torch.float64)
    assert pipe.dtype is torch.float64


MODERN = """
import torch
from diffusers import AutoModel, AutoPipelineForText2Image, StableDiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback, SDCFGCutoffCallback
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.models import ImageProjection
from diffusers.models.lora import adjust_lora_scale_text_encoder
from diffusers.pipelines.stable_diffusion.pipeline_output import StableDiffusionPipelineOutput
from diffusers.utils import (
    CONFIG_NAME, WEIGHTS_NAME, export_to_gif, load_image, make_image_grid, numpy_to_pil, pt_to_pil)
from diffusers.utils.torch_utils import (
    empty_device_cache, get_module_execution_device, randn_tensor)

class Own(StableDiffusionPipeline):
    def prepare_image(self, image: PipelineImageInput | None, end: PipelineCallback | None = None):
        assert not isinstance(self.unet.encoder_hid_proj, ImageProjection)
        return image.to(get_module_execution_device(self.vae))
"""


def test_what_pipelines_of_today_import_is_there(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(MODERN)
    pipe = load(tiny, tmp_path / "pipeline.py")
    assert pipe.prepare_image(torch.ones(1)).tolist() == [1]
