from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading.weights.weight_files import find_weights, read_weights, write_weights

STEM = "diffusion_pytorch_model"


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(8, 6, generator=generator)
    return {
        "conv.weight": base.half(),
        "norm.scale": torch.randn(6, generator=generator),
        "steps": torch.arange(4),
        "flag": torch.tensor([True, False]),
        "nothing": torch.empty(0, 3),
        "scalar": torch.tensor(1.5, dtype=torch.bfloat16),
    }


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[k].dtype == second[k].dtype and torch.equal(first[k], second[k]) for k in first
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("safe_serialization", [True, False])
@pytest.mark.parametrize("max_shard_size", [None, 64])
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("stem", [STEM, "model"])
def test_what_is_written_is_read_back(
    tmp_path: Path,
    stem: str,
    variant: str | None,
    max_shard_size: int | None,
    safe_serialization: bool,
) -> None:
    write_weights(
        tensors(),
        tmp_path,
        stem,
        variant=variant,
        max_shard_size=max_shard_size,
        safe_serialization=safe_serialization,
    )
    paths = find_weights(tmp_path, stem, variant=variant)
    assert same(read_weights(paths), tensors())
    assert (len(paths) > 1) == (max_shard_size is not None)


def test_safetensors_own_reader_agrees(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM)
    assert same(load_file(tmp_path / f"{STEM}.safetensors"), tensors())


def test_shards_and_index_are_named_as_diffusers_names_them(tmp_path: Path) -> None:
    state = {"a": torch.zeros(10), "b": torch.zeros(10)}
    write_weights(state, tmp_path, STEM, variant="fp16", max_shard_size=40)
    shards = [f"{STEM}.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = f"{STEM}.safetensors.index.fp16.json"
    assert names(tmp_path) == sorted([*shards, index])
    assert json.loads((tmp_path / index).read_text()) == {
        "metadata": {"total_size": 80},
        "weight_map": {"a": shards[0], "b": shards[1]},
    }


def test_a_later_save_leaves_no_shard_of_an_earlier_one(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM, max_shard_size=64)
    write_weights(tensors(), tmp_path, STEM, variant="fp16")
    write_weights(tensors(), tmp_path, STEM, safe_serialization=False)
    assert names(tmp_path) == [f"{STEM}.bin", f"{STEM}.fp16.safetensors"]


def test_saving_over_weights_that_are_still_mapped_leaves_them_as_they_are(tmp_path: Path) -> None:
    write_weights({"a": torch.ones(100_000)}, tmp_path, STEM)
    mapped = read_weights(find_weights(tmp_path, STEM))
    write_weights({"a": mapped["a"] + 1}, tmp_path, STEM)
    assert mapped["a"].unique().tolist() == [1.0]
    assert read_weights(find_weights(tmp_path, STEM))["a"].unique().tolist() == [2.0]


def test_shared_strided_and_parameter_tensors_are_written_whole(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "base": base,
        "row": base[1],
        "turned": base.t(),
        "parameter": torch.nn.Parameter(base[:, 1:3]),
        "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    for safe_serialization in (True, False):
        write_weights(state, tmp_path, STEM, safe_serialization=safe_serialization)
        read = read_weights(find_weights(tmp_path, STEM))
        assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
    assert (tmp_path / f"{STEM}.bin").stat().st_size < 10_000


def test_only_floating_tensors_are_cast_and_named_modules_stay_in_float32(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM)
    read = read_weights(
        find_weights(tmp_path, STEM), dtype=torch.bfloat16, keep_in_fp32=["norm", "scal"]
    )
    assert {name: tensor.dtype for name, tensor in read.items()} == {
        "conv.weight": torch.bfloat16,
        "norm.scale": torch.float32,
        "steps": torch.int64,
        "flag": torch.bool,
        "nothing": torch.bfloat16,
        "scalar": torch.bfloat16,
    }
    assert torch.equal(read["conv.weight"], tensors()["conv.weight"].bfloat16())


def test_tensors_go_to_the_device_asked_for(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM)
    read = read_weights(find_weights(tmp_path, STEM), device=torch.device("meta"))
    assert all(tensor.is_meta for tensor in read.values())


@pytest.mark.slow
def test_reading_without_a_cast_maps_the_file_and_casting_adds_no_second_copy(
    tmp_path: Path,
) -> None:
    mib = 1 << 20
    write_weights({str(n): torch.zeros(2 * mib) for n in range(16)}, tmp_path, STEM)
    code = (
        "import re, sys, torch; from pathlib import Path\n"
        "from dpnb.loading.weights.weight_files import read_weights\n"
        "def peak():\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', text)[1]) * 1024\n"
        "read_weights([Path(sys.argv[1])])\n"
        "before = peak(); kept = read_weights([Path(sys.argv[1])]); mapped = peak() - before\n"
        "del kept; before = peak()\n"
        "kept = read_weights([Path(sys.argv[1])], dtype=torch.float16)\n"
        "print(mapped, peak() - before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"{STEM}.safetensors")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    mapped, cast = map(int, run.stdout.split())
    assert mapped < 8 * mib
    assert cast < (64 + 48) * mib


def test_a_variant_is_matched_as_a_whole_word(tmp_path: Path) -> None:
    write_weights({"a": torch.zeros(1)}, tmp_path, STEM)
    write_weights({"a": torch.ones(1)}, tmp_path, STEM, variant="fp16")
    (tmp_path / "README").write_text("no extension")
    assert [p.name for p in find_weights(tmp_path, STEM, variant="fp16")] == [
        f"{STEM}.fp16.safetensors"
    ]
    assert [p.name for p in find_weights(tmp_path, STEM, variant="fp")] == [f"{STEM}.safetensors"]


def test_a_folder_without_the_variant_gives_its_plain_weights_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_weights(tensors(), tmp_path, STEM)
    with caplog.at_level(logging.WARNING):
        find_weights(tmp_path, STEM, variant="fp16")
    assert caplog.messages == [f"{tmp_path} has no variant 'fp16'; its plain weights are used."]


@pytest.mark.parametrize(
    ("shard", "index"),
    [
        (STEM + "-0000{}-of-00002.fp16.safetensors", STEM + ".safetensors.fp16.index.json"),
        (STEM + ".fp16-0000{}-of-00002.safetensors", STEM + ".safetensors.index.fp16.json"),
        (STEM + "-0000{}-of-00002.fp16.safetensors", None),
    ],
)
def test_both_forms_of_sharded_variants_are_found(
    tmp_path: Path, shard: str, index: str | None
) -> None:
    for number in (1, 2):
        save_file({str(number): torch.zeros(1)}, tmp_path / shard.format(number))
    if index is not None:
        weight_map = {str(number): shard.format(number) for number in (1, 2)}
        (tmp_path / index).write_text(json.dumps({"weight_map": weight_map}))
    paths = find_weights(tmp_path, STEM, variant="fp16")
    assert [path.name for path in paths] == [shard.format(1), shard.format(2)]


def test_safetensors_come_first_and_bin_serves_where_there_are_none(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert find_weights(tmp_path, "model")[0].name == "model.safetensors"
    assert find_weights(tmp_path, "model", use_safetensors=False)[0].name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").unlink()
    assert find_weights(tmp_path, "model")[0].name == "pytorch_model.bin"
    with pytest.raises(CheckpointError, match=r"has no model.safetensors; leave out use_safe"):
        find_weights(tmp_path, "model", use_safetensors=True)


def test_bin_files_of_the_format_before_zip_are_read(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.bin"
    state = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.half)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert same(read_weights([path]), state)


class Bomb:
    """What a hostile pickle does when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("boom",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, is_zip: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{STEM}.bin"
    torch.save({"a": Bomb()}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="code in weight files is not run"):
        read_weights([path])
    assert "boom" not in capsys.readouterr().out


def test_a_bin_that_is_no_table_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.bin"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="is not a table of tensors by name"):
        read_weights([path])


@pytest.mark.parametrize("safe_serialization", [True, False])
def test_truncated_files_are_called_damaged(tmp_path: Path, safe_serialization: bool) -> None:
    write_weights(tensors(), tmp_path, STEM, safe_serialization=safe_serialization)
    (found,) = find_weights(tmp_path, STEM)
    path = tmp_path / found.name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"is damaged \(.+\); download or save it again\."):
        read_weights([path])


@pytest.mark.parametrize("name", [f"{STEM}.safetensors", f"{STEM}.bin"])
def test_git_lfs_pointers_are_recognised(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(CheckpointError, match="is a git-lfs pointer, not weights; run `git lfs"):
        read_weights(find_weights(tmp_path, STEM))


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither whole nor in shards is there a diffusion"):
        find_weights(tmp_path, STEM)
    with pytest.raises(CheckpointError, match="is not a folder; give the one that holds"):
        find_weights(tmp_path / "none", STEM)


def test_weights_that_exist_as_a_variant_only_name_it(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM, variant="fp16")
    with pytest.raises(CheckpointError, match="only as variant 'fp16'; pass variant='fp16'"):
        find_weights(tmp_path, STEM)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM, max_shard_size=64)
    (tmp_path / find_weights(tmp_path, STEM)[1].name).unlink()
    with pytest.raises(CheckpointError, match=rf"lacks {STEM}-00002-of-\d+.safetensors, which"):
        find_weights(tmp_path, STEM)
    (tmp_path / f"{STEM}.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match=r"lacks shard 2 of \d"):
        find_weights(tmp_path, STEM)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a\\b", "..", "", 3])
def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path, name: object) -> None:
    index = tmp_path / f"{STEM}.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="shards must lie beside their index"):
        find_weights(tmp_path, STEM)


def test_an_index_that_disagrees_with_its_shards_is_refused(tmp_path: Path) -> None:
    write_weights(tensors(), tmp_path, STEM, max_shard_size=64)
    path = tmp_path / f"{STEM}.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["ghost"] = index["weight_map"]["steps"]
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="disagree about 1 tensors, such as 'ghost'"):
        find_weights(tmp_path, STEM)
    path.write_text("{}")
    with pytest.raises(CheckpointError, match="has no weight_map"):
        find_weights(tmp_path, STEM)


def test_a_name_in_two_shards_is_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file({"a": torch.zeros(1)}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="holds 'a', and so does another shard"):
        read_weights(find_weights(tmp_path, "model"))


def test_weights_without_values_and_bad_arguments_are_refused(tmp_path: Path) -> None:
    nothing = {"a": torch.zeros(1, device="meta")}
    for safe_serialization in (True, False):
        with pytest.raises(ValueError, match="'a' is on the meta device"):
            write_weights(nothing, tmp_path, STEM, safe_serialization=safe_serialization)
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        write_weights(tensors(), tmp_path, STEM, variant="../fp16")
    with pytest.raises(ValueError, match="is not a size"):
        write_weights(tensors(), tmp_path, STEM, max_shard_size="much")
    with pytest.raises(ValueError, match="safetensors cannot hold"):
        write_weights({"a": torch.zeros(1, dtype=torch.complex128)}, tmp_path, STEM)
    assert names(tmp_path) == []


def test_a_failed_write_keeps_the_former_file(tmp_path: Path) -> None:
    write_weights({"a": torch.ones(4)}, tmp_path, STEM)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_weights({"a": torch.ones(100_000)}, tmp_path, STEM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == [f"{STEM}.safetensors"]
    assert read_weights(find_weights(tmp_path, STEM))["a"].tolist() == [1.0] * 4
