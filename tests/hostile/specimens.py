"""Good files of every kind that dpnb reads, small: what is broken afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import dpnb
from dpnb.bench.measurement import OUT_OF_MEMORY, Measurement
from dpnb.bench.report import Report
from dpnb.loading.components.registry import SCHEDULERS
from dpnb.loading.weights.tensor_files import write_safetensors

FAMILIES = ("tiny-sd", "tiny-sdxl", "tiny-flux", "tiny-ldm")

PROMPTS = (
    {"prompt": "a cat"},
    {"prompt": "a dog", "seed": 3, "size": "24x16", "steps": 1, "guidance": 1, "name": "dog"},
    {"prompt": "a cow", "negative_prompt": "grass", "size": 16, "name": "cow.png"},
)


@dataclass(frozen=True)
class Specimen:
    """One file of a good folder, and the folder.

    Attributes:
        kind: the row of the final table that it belongs to.
        folder: of a checkpoint or of single files.
        file: inside it, with `/`.
    """

    kind: str
    folder: Path
    file: str


def write_specimens(place: Path) -> list[Specimen]:
    """Write good files of every kind below `place`."""
    found: list[Specimen] = []
    for family in FAMILIES:
        pipe: Any = dpnb.random_pipeline(family)
        pipe.save_pretrained(place / family)
        if family == "tiny-sd":
            pipe.save_pretrained(place / "bin", safe_serialization=False)
            pipe.save_pretrained(place / "shards", max_shard_size="200KB")
            pipe.save_pretrained(place / "one" / "model.dduf")
            _write_adapters(pipe, place / "adapters")
            _write_results(pipe, place / "results")
            found += _schedulers(pipe, place)
        found += _of_checkpoint(place / family)
    found += _of_checkpoint(place / "shards", ("weight index",))
    found += _of_checkpoint(place / "bin", ("bin",))
    found += [Specimen("dduf", place / "one", "model.dduf")]
    found += [Specimen("lora", place / "adapters", file) for file in ADAPTERS]
    found += [Specimen(kind, place / "results", file) for kind, file in RESULTS.items()]
    return found


ADAPTERS = ("style.safetensors", "peft/adapter_model.safetensors", "peft/adapter_config.json")

RESULTS = {
    "plan": "plan.json",
    "report": "report.json",
    "trace": "trace.json",
    "prompts": "prompts.jsonl",
}


def kind_of(file: str) -> str | None:
    """The kind that a checkpoint's file is of."""
    folder, _, name = file.rpartition("/")
    rules: Mapping[str, Callable[[], bool]] = {
        "index": lambda: name == "model_index.json",
        "scheduler": lambda: name == "scheduler_config.json",
        "tokenizer": lambda: folder.startswith("tokenizer"),
        "weight index": lambda: name.endswith(".index.json"),
        "safetensors": lambda: name.endswith(".safetensors"),
        "bin": lambda: name.endswith(".bin"),
        "text config": lambda: name == "config.json" and folder.startswith(("text", "bert")),
        "config": lambda: name == "config.json",
    }
    return next((kind for kind, holds in rules.items() if holds()), None)


def _of_checkpoint(folder: Path, kinds: tuple[str, ...] = ()) -> list[Specimen]:
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    found = [(kind, file) for file in files if (kind := kind_of(file)) is not None]
    return [Specimen(kind, folder, file) for kind, file in found if not kinds or kind in kinds]


def _schedulers(pipe: Any, place: Path) -> list[Specimen]:
    """A folder for every scheduler, which `pipe` can use in place of its own."""
    found = []
    for name in SCHEDULERS:
        if name != "FlowMatchEulerDiscreteScheduler":
            kind = getattr(dpnb, name)
            kind.from_config(pipe.scheduler.config).save_pretrained(place / "schedulers" / name)
            found.append(
                Specimen("scheduler", place / "schedulers" / name, "scheduler_config.json")
            )
    return found


def _write_adapters(pipe: Any, folder: Path) -> None:
    (folder / "peft").mkdir(parents=True)
    names = [
        name
        for name, layer in pipe.unet.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(("to_q", "to_v"))
    ]
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        rows, columns = pipe.unet.get_submodule(name).weight.shape
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(2, columns) * 0.1
        tensors[f"unet.{name}.lora_B.weight"] = torch.randn(rows, 2) * 0.1
    notes = {"unet.r": 2, "unet.lora_alpha": 4, "unet.alpha_pattern": {"to_q": 8}}
    from safetensors.torch import save_file

    save_file(
        tensors,
        folder / ADAPTERS[0],
        {"format": "pt", "lora_adapter_metadata": json.dumps(notes)},
    )
    plain = {f"base_model.model.{k.removeprefix('unet.')}": v for k, v in tensors.items()}
    write_safetensors(plain, folder / ADAPTERS[1])
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["to_q", "to_v"]}
    config |= {"use_rslora": False, "rank_pattern": {}, "alpha_pattern": {"to_q": 8}}
    (folder / ADAPTERS[2]).write_text(json.dumps(config))


def _write_results(pipe: Any, folder: Path) -> None:
    folder.mkdir()
    pipe.set_progress_bar_config(disable=True)
    slicing = frozenset({dpnb.AttentionSlicing(1), dpnb.QKVFusion(vae=False)})
    plans = [frozenset(), slicing, frozenset({dpnb.SequentialOffload("1MiB")})]
    table = dpnb.plan(pipe, height=16, width=16, steps=1, device="RTX 3060", plans=plans)
    table.save(folder / "plan.json")
    finished = Measurement(frozenset(), "finished", {"text": 9, "denoising": 99}, 1.5, 0.5, 0.1)
    failed = Measurement(slicing, OUT_OF_MEMORY, {}, predicted=table.rows[0])
    Report(table, (finished, failed)).save(folder / "report.json")
    with dpnb.record(pipe) as recorder:
        pipe("a", height=16, width=16, num_inference_steps=2, output_type="np")
    recorder.trace.save(folder / "trace.json")
    lines = "\n".join(map(json.dumps, PROMPTS))
    (folder / "prompts.jsonl").write_text(lines, encoding="utf-8")
