"""Networks that compute in another dtype than they are called in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import dpnb
from dpnb.errors import StrategyError
from dpnb.planning.planner import plan
from dpnb.planning.workload import Workload
from dpnb.run_listener import RunKey
from dpnb.stages import Stage
from dpnb.strategies import precision
from dpnb.strategies.dtype_border import DtypeBorder
from dpnb.strategies.precise_parts import find_precise_tensors
from dpnb.strategies.precision import Precision
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.undo import Undo
from tests.planning.test_step_prediction import CPU, errors
from tests.reference.foreign import video
from tests.strategies.foreign_owner import STUDIOS, PartsStack
from tests.strategies.pipes import LINK, adapter, build, draw, networks, values
from tests.strategies.subjects import FOREIGN, IGNORED, draw_of, picture_of, pipe_of
from tests.strategies.test_foreign_laws import BetweenSteps, listen

pytestmark = [pytest.mark.exhaustive, *IGNORED]


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def dtypes(network: nn.Module) -> set[torch.dtype]:
    """Those of its weights."""
    return {parameter.dtype for parameter in network.parameters()}


# --- inside and outside ---


def test_networks_compute_inside_as_they_are_not_called_outside(pipe: Any) -> None:
    seen: list[torch.dtype] = []
    pipe.strategies.enable(Precision())
    assert {dtype for one in networks(pipe).values() for dtype in dtypes(one)} == {torch.bfloat16}
    assert pipe.dtype == pipe.unet.dtype == pipe.text_encoder.dtype == torch.float32
    layer = pipe.unet.mid_block.resnets[0].conv1
    handle = layer.register_forward_hook(
        lambda _, args, out: seen.extend((args[0].dtype, out.dtype))
    )
    latents: list[Tensor] = []
    for step in pipe.stream("a red fox", num_inference_steps=1, height=32, width=32):
        latents += [step.latents] if step.latents is not None else []
    handle.remove()
    assert set(seen) == {torch.bfloat16}
    assert {one.dtype for one in latents} == {torch.float32}


@pytest.mark.parametrize("components", [("unet",), ("vae",), ("text_encoder", "vae")])
def test_components_compute_in_dtypes_of_their_own(pipe: Any, components: Any) -> None:
    plain = draw(pipe)
    with pipe.strategies.using(Precision("bfloat16", components)):
        for name, network in networks(pipe).items():
            narrow = torch.bfloat16 if name in components else torch.float32
            assert dtypes(network) == {narrow}
        assert 0 < (draw(pipe) - plain).abs().max() < 0.1


class Witness(nn.Module):
    """A network that notes the dtypes it is given, and answers in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen: dict[str, torch.dtype] = {}

    def forward(
        self, sample: Tensor, timestep: Tensor, added: dict[str, Tensor], image_rotary_emb: Tensor
    ) -> Any:
        given = {"sample": sample, "timestep": timestep, "rotary": image_rotary_emb, **added}
        self.seen = {name: tensor.dtype for name, tensor in given.items()}
        made = self.layer(sample)
        return {"sample": made, "again": [made], "precise": made.double()}


def test_what_is_given_loses_no_more_than_it_must() -> None:
    network = Witness()
    strategies = PartsStack(transformer=network)
    strategies.enable(Precision())
    added = {"text_embeds": torch.ones(2, 4), "time_ids": torch.ones(2, 6)}
    made = network(torch.ones(2, 3, 4), torch.tensor(972.2), added, torch.ones(3, 4))
    narrow, wide = torch.bfloat16, torch.float32
    assert network.seen == {
        "sample": narrow,
        "timestep": wide,
        "rotary": wide,
        "text_embeds": narrow,
        "time_ids": wide,
    }
    assert made["sample"].dtype == wide
    assert made["again"][0] is made["sample"]
    assert made["precise"].dtype == torch.float64


def test_what_stays_the_same_in_a_run_is_cast_once(pipe: Any) -> None:
    seen: list[int] = []
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k
    handle = layer.register_forward_hook(lambda _, args, __: seen.append(args[0].data_ptr()))
    with pipe.strategies.using(Precision()):
        draw(pipe, steps=3)
    handle.remove()
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_pictures_that_are_encoded_are_wide_as_well() -> None:
    pipe = build("img2img")
    with pipe.strategies.using(Precision()):
        known = pipe.vae.encode(torch.zeros(1, 3, 16, 16)).latent_dist
        assert known.mean.dtype == known.sample().dtype == torch.float32
        assert draw(pipe).isfinite().all()


def test_layers_before_the_last_can_be_left_out(pipe: Any) -> None:
    plain = draw(pipe, clip_skip=1)
    with pipe.strategies.using(Precision()):
        assert 0 < (draw(pipe, clip_skip=1) - plain).abs().max() < 0.1


# --- what stays wide ---


def test_an_autoencoder_that_overflows_keeps_its_dtype() -> None:
    pipe = build("tiny-sdxl")
    assert pipe.vae.config.force_upcast
    with pipe.strategies.using(Precision("float16")):
        assert dtypes(pipe.vae) == {torch.float32}
        assert dtypes(pipe.unet) == {torch.float16}
    reason = pipe.strategies.obstacle(Precision("float16", ("vae",)))
    assert reason is not None
    assert "(force_upcast)" in reason
    with pipe.strategies.using(Precision("bfloat16")):
        assert dtypes(pipe.vae) == {torch.bfloat16}


def test_a_narrow_autoencoder_is_upcast_as_ever() -> None:
    pipe = build("tiny-sdxl", dtype="float16")
    assert pipe.is_vae_upcast
    plain = draw(pipe)
    with pipe.strategies.using(Precision()):
        assert 0 < (draw(pipe) - plain).abs().max() < 0.2
    assert torch.equal(draw(pipe), plain)


def test_islands_of_float32_stay_what_they_are() -> None:
    network: Any = STUDIOS["Wan"]().pipe.transformer
    strategies = PartsStack(transformer=network)
    strategies.enable(Precision())
    assert dtypes(network) == {torch.bfloat16, torch.float32}
    assert dtypes(network.condition_embedder.time_embedder) == {torch.float32}
    assert len(find_precise_tensors(network, torch.bfloat16)) > 2
    assert find_precise_tensors(network, torch.float32) == set()


def test_layers_that_transformers_keeps_wide_are_kept_in_float16_alone() -> None:
    encoder = build("tiny-flux").text_encoder_2
    kept = {id(p) for name, p in encoder.named_parameters() if ".wo." in name}
    assert kept
    assert find_precise_tensors(encoder, torch.float16) == kept
    assert find_precise_tensors(encoder, torch.bfloat16) == set()


def test_quantized_components_are_left_alone() -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(
        "dpnb/emoji-64", quantization_config={"unet": "int8"}
    )
    with pipe.strategies.using(Precision()):
        assert dtypes(pipe.vae) == {torch.bfloat16}
        assert torch.float32 in dtypes(pipe.unet)
    reason = pipe.strategies.obstacle(Precision(components=("unet",)))
    assert reason == (
        "unet holds int8 weights, which cannot be cast; leave it out of Precision, or load it "
        "without quantization_config."
    )


# --- in the middle of a run ---


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-flux", "tiny-ldm", "inpaint"])
@pytest.mark.parametrize("first", [Precision(), None])
def test_it_comes_and_goes_between_two_steps(name: str, first: Strategy | None) -> None:
    pipe = build(name)
    plain = draw(pipe, steps=3)
    turns = [[] if first else [Precision()], [first] if first else []]
    pipe.strategies.use([first] if first else [])
    pictures = {one.argument: one.example(32, 32) for one in pipe.picture_inputs}
    asked = {"num_inference_steps": 3, "output_type": "np", **pictures}
    generator = torch.Generator().manual_seed(0)
    for step in pipe.stream("a red fox", generator=generator, **asked):
        if step.stage is Stage.DENOISING:
            pipe.strategies.use(turns[step.index % 2])
    drawn = torch.from_numpy(step.output.images)
    assert 0 < (drawn - plain).abs().mean() < 0.05
    pipe.strategies.use([])
    assert torch.equal(draw(pipe, steps=3), plain)


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "FluxPipeline", "ZImagePipeline"])
def test_a_foreign_run_goes_on_after_it_has_gone(name: str) -> None:
    plain, stack = picture_of(name), pipe_of(name).strategies
    stack.enable(Precision())
    listener = BetweenSteps(lambda: stack.use([]))
    drawn = listen(name, listener)
    assert stack.active == frozenset()
    assert {one.dtype for one in listener.latents} == {torch.float32}
    assert 0 < (drawn - plain).abs().mean() < 0.05
    assert torch.equal(draw_of(name), plain)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_first_layer_that_keeps_its_dtype_computes_in_it(dtype: str) -> None:
    """As the class of the network wants it."""
    case = next(c for c in video.CASES if c.name.startswith("Kandinsky5T2I"))
    pipe = case.build()
    plain, stack = case.draw(pipe), dpnb.attach(pipe).strategies
    first = next(pipe.transformer.parameters())
    with stack.using(Precision(dtype, ("transformer",))):
        assert first.dtype == torch.float32
        assert 0 < (case.draw(pipe) - plain).abs().mean() < 0.05
    assert torch.equal(case.draw(pipe), plain)


# --- beside others ---


def test_small_changes_of_weights_are_computed_beside_them(pipe: Any) -> None:
    pipe.load_lora_weights(adapter(pipe, seed=1), "other")
    pipe.set_adapters(["other"])
    plain, known = draw(pipe), values(pipe)
    pipe.strategies.enable(Precision())
    layers = [type(one).__name__ for one in pipe.unet.modules()]
    assert "LoRALinear" in layers
    assert (draw(pipe) - plain).abs().mean() < 0.05
    pipe.strategies.disable(Precision)
    assert torch.equal(draw(pipe), plain)
    assert all(torch.equal(one, known[name]) for name, one in values(pipe).items())


class Statistics(nn.Module):
    """A network of buffers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(8))


def test_a_network_of_others_may_have_buffers_alone() -> None:
    studio = FOREIGN["StableDiffusionPipeline"].build()
    studio.pipe.safety_checker = checker = Statistics()
    with studio.strategies.using(Precision(components=("safety_checker",))):
        assert checker.mean.dtype == torch.bfloat16
    assert checker.mean.dtype == torch.float32


def test_what_is_saved_is_plain(pipe: Any, tmp_path: Path) -> None:
    known = pipe.unet.state_dict()
    plain = {name: value.clone() for name, value in known.items()}
    with pipe.strategies.using(Precision()):
        pipe.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(saved[name], plain[name]) for name in plain)


def test_a_network_of_others_is_saved_plain(tmp_path: Path) -> None:
    studio = FOREIGN["StableDiffusionPipeline"].build()
    plain = {name: value.clone() for name, value in studio.pipe.unet.state_dict().items()}
    with studio.strategies.using(Precision()):
        studio.pipe.unet.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(saved[name], plain[name]) for name in plain)


def test_weights_of_a_file_are_mapped_from_it_again(pipe: Any, tmp_path: Path) -> None:
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path)
    loaded: Any = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    plain, count = draw(loaded), count_mappings(tmp_path)
    assert count >= 3
    loaded.strategies.enable(Precision())
    assert count_mappings(tmp_path) == 0
    loaded.strategies.use([])
    assert count_mappings(tmp_path) == count
    assert torch.equal(draw(loaded), plain)


def count_mappings(folder: Path) -> int:
    """How many files of a folder this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.rpartition(" ")[2] for line in lines if str(folder) in line})


# --- what is predicted ---


@pytest.mark.parametrize("name", ["tiny-sd", "ZImagePipeline"])
def test_memory_is_predicted_to_the_byte(name: str) -> None:
    pipe = pipe_of(name)
    plans: list[Any] = [frozenset({Precision(), dpnb.SequentialOffload(device=LINK)})]
    plans += [frozenset({Precision()})] if name in FOREIGN else []
    profile = replace(CPU, link=64e9, torch_device=LINK)
    workload = Workload(height=32, width=32, steps=2)
    table = plan(pipe, workload=workload, device=profile, plans=plans)
    assert len(table) == len(plans)
    assert max(errors(pipe, table).values()) == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_is_changed_in_place_is_cast_again(mode: Any) -> None:
    network = nn.Linear(4, 4).bfloat16()
    border: DtypeBorder = DtypeBorder(network, torch.float32, network.weight)
    with Undo() as undo, mode():
        border.open([], undo)
        border.begin_run(RunKey())
        words = torch.ones(2, 4)
        first = network(words)
        assert torch.equal(network(words), first)
        words.mul_(5)
        assert not torch.equal(network(words), first)


@pytest.mark.parametrize(
    "strategy", [Precision(), dpnb.LayerwiseCasting("float16"), dpnb.ChannelsLast()], ids=repr
)
def test_weights_of_one_memory_have_one_again(strategy: Strategy) -> None:
    pipe: Any = build("tiny-sd")
    own = pipe.unet.mid_block.resnets
    own[1].conv1.weight.data = own[0].conv1.weight.data
    for _ in range(2):
        with pipe.strategies.using(strategy):
            assert own[0].conv1.weight.data_ptr() == own[1].conv1.weight.data_ptr()
        assert own[0].conv1.weight.data_ptr() == own[1].conv1.weight.data_ptr()


class Moment(nn.Module):
    """Answers in the dtype of what it is given, whatever it computes it in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 4)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        own_dtype = x.dtype
        self.seen.append(own_dtype)
        made: Tensor = self.linear(x.float()[:, None].sin().to(own_dtype))
        return made


class Careful(Moment):
    """Casts what it is given to what it computes in."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.dtype)
        if self.linear.weight.dtype != x.dtype:
            return super().forward(x.to(self.linear.weight.dtype))
        return super().forward(x)


class Denoiser(nn.Module):
    """Hands the moment on to a layer that calls it otherwise."""

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self.matrix, self.embed = nn.Linear(4, 4), moment

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        made: Tensor = self.matrix(hidden_states) + self.embed(timestep)
        return made


@pytest.mark.parametrize("moment", [Moment, Careful])
def test_moments_are_cast_for_layers_that_go_on_in_their_dtype_alone(moment: Any) -> None:
    network = Denoiser(moment())
    with PartsStack(transformer=network).using(Precision()), torch.no_grad():
        assert network(torch.ones(2, 4), torch.tensor([0.5, 0.7])).dtype == torch.float32
    wanted = torch.bfloat16 if moment is Moment else torch.float32
    assert network.embed.seen[0] == wanted


def test_a_device_is_tried_once(pipe: Any) -> None:
    class Convolutions(TorchFunctionMode):
        count = 0

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.count += func is F.conv2d
            return func(*args, **(kwargs or {}))

    assert pipe.strategies.obstacle(Precision()) is None
    with Convolutions() as mode:
        assert pipe.strategies.obstacle(Precision()) is None
    assert mode.count == 0


# --- what cannot be ---


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (
            Precision(components=("unet", "brain")),
            "Precision names brain, and there are text_encoder, unet, vae.",
        ),
        (
            Precision("float32"),
            "No weight here would be cast to float32; choose another dtype, or leave Precision "
            "out.",
        ),
    ],
)
def test_mistakes_are_one_sentence(strategy: Strategy, sentence: str, pipe: Any) -> None:
    assert pipe.strategies.obstacle(strategy) == sentence


def test_a_dtype_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="dtype is 'int8'; use one of bfloat16, float16, float32"):
        Precision("int8")


def test_a_dtype_may_be_torch_s_own() -> None:
    dtype: Any = torch.float16
    assert Precision(dtype) == Precision("float16")


def test_a_device_without_the_dtype_says_so(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    precision._try_dtype.cache_clear()
    monkeypatch.setattr(F, "conv2d", refuse)
    reason = pipe.strategies.obstacle(Precision("float16"))
    assert reason == (
        "cpu does not compute in float16 (\"slow_conv2d_cpu\" not implemented for 'Half'); use "
        "another dtype."
    )
    with pytest.raises(StrategyError):
        pipe.strategies.enable(Precision("float16"))
    assert dtypes(pipe.unet) == {torch.float32}


def test_weights_without_values_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2, device="meta"))
    reason = PartsStack(transformer=network).obstacle(Precision())
    assert reason is not None
    assert "without values" in reason
