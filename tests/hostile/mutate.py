"""Break files of every kind, and see what becomes of it.

    python -m tests.hostile.mutate --count 3000 --seed 1

Every file is refused in a sentence, or it is good enough to draw with. A table says how many were,
by kind, and what else happened.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import dpnb
from dpnb.strategies.catalog import CATALOG
from tests.hostile import text_mutations, weight_mutations
from tests.hostile.code_mutations import plant
from tests.hostile.place_mutations import misplace
from tests.hostile.specimens import FAMILIES, Specimen, write_specimens
from tests.hostile.trials import Good, try_file
from tests.hostile.workers import OUTCOMES, Result, run_apart

PLACES = 0.1
"""The share of files in whose place something else is put."""

ALLOWED_RAW = 0.01


def main() -> int:
    """Run the command line; 1 if more went wrong than may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="break files of this kind alone")
    parser.add_argument("--verbose", action="store_true", help="print every file that was tried")
    parser.add_argument("--log", type=Path, help="write what happened to every file here")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory(prefix="dpnb-hostile-") as place:
        results = []
        for label, result in _attempts(Path(place), chosen.count, chosen.seed, chosen.kind):
            results.append((label, result))
            if chosen.log:
                with chosen.log.open("a") as file:
                    file.write(json.dumps([*label, result.outcome, result.detail]) + "\n")
    _report(results)
    return int(not is_acceptable([result for _, result in results]))


def is_acceptable(results: list[Result]) -> bool:
    """Whether nothing hangs, blows up or runs code, and hardly an error is raw."""
    counts = Counter(result.outcome for result in results)
    worst = sum(counts[name] for name in ("hang", "memory", "executed", "killed"))
    return worst == 0 and counts["raw"] <= ALLOWED_RAW * len(results)


Label = tuple[str, str, str, int]
"""Kind, file, way and number of a broken file."""


def _attempts(
    place: Path, count: int, seed: int, kind: str | None
) -> Iterator[tuple[Label, Result]]:
    specimens = write_specimens(place / "good")
    good = _warm(place / "good")
    kinds = sorted({one.kind for one in specimens} | {"code"})
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        chosen = kind or kinds[number % len(kinds)]
        yield _attempt(chosen, specimens, good, place / f"broken{number}", chance, number)
        shutil.rmtree(place / f"broken{number}", ignore_errors=True)


def _attempt(
    kind: str,
    specimens: list[Specimen],
    good: Good,
    place: Path,
    chance: random.Random,
    number: int,
) -> tuple[Label, Result]:
    of_kind = [one for one in specimens if one.kind == ("index" if kind == "code" else kind)]
    specimen = chance.choice(of_kind)
    folder = place / specimen.folder.name
    shutil.copytree(specimen.folder, folder, copy_function=os.link)
    canary = place / "executed"
    way = _break(kind, folder, folder / specimen.file, canary, chance)
    result = run_apart(lambda: try_file(kind, folder, specimen.file, good, chance))
    if canary.exists():
        result = Result("executed", result.detail)
    return (kind, f"{folder.name}/{specimen.file}", way, number), result


def _break(kind: str, folder: Path, path: Path, canary: Path, chance: random.Random) -> str:
    if kind == "code":
        for file in folder.rglob("*.json"):
            _write(file, file.read_bytes())
        return plant(folder, canary, chance)
    if chance.random() < PLACES:
        return misplace(path, chance)
    content = path.read_bytes()
    if kind == "bin":
        way, broken = weight_mutations.mutate_bin(content, chance, str(canary))
    elif kind == "dduf":
        way, broken = weight_mutations.mutate_dduf(content, chance)
    elif path.suffix == ".safetensors":
        way, broken = weight_mutations.mutate_safetensors(content, chance)
    else:
        way, broken = text_mutations.mutated(content, chance)
    _write(path, broken)
    return way


def _write(path: Path, content: bytes) -> None:
    """Replace a file, which may be a second name of a good one."""
    path.unlink()
    path.write_bytes(content)


def _warm(place: Path) -> Good:
    """The components of the good checkpoints; whatever is imported for them is there then."""
    good: dict[str, dict[str, Any]] = {}
    for family in FAMILIES:
        pipe: Any = dpnb.DiffusionPipeline.from_pretrained(str(place / family))
        pipe.set_progress_bar_config(disable=True)
        pipe("a", num_inference_steps=1, height=16, width=16, output_type="np")
        good[family] = dict(pipe.components)
    assert CATALOG
    return good


def _report(results: list[tuple[Label, Result]]) -> None:
    rows: dict[str, Counter[str]] = {}
    for (kind, *_), result in results:
        rows.setdefault(kind, Counter())[result.outcome] += 1
        rows.setdefault("all", Counter())[result.outcome] += 1
    print(f"{'':14}" + "".join(f"{name:>11}" for name in OUTCOMES))
    for kind in sorted(rows, key=lambda kind: (kind == "all", kind)):
        print(f"{kind:14}" + "".join(f"{rows[kind][name]:>11}" for name in OUTCOMES))
    wrong = [(label, result) for label, result in results if result.outcome not in OUTCOMES[:3]]
    for (kind, file, way, number), result in wrong:
        print(f"{result.outcome}: {number} {kind} {file} {way}: {result.detail}")


if __name__ == "__main__":
    start = time.monotonic()
    code = main()
    print(f"{time.monotonic() - start:.0f} s")
    sys.exit(code)
