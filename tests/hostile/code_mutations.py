"""Checkpoints that bring code along, and name it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

MODULES = ("os", "subprocess", "builtins", "planted", "pipeline", "unet.planted", "__main__")

CLASSES = ("system", "Planted", "Popen", "exec", "CLIPTextModel", "AutoModel", "pipeline")


def plant(folder: Path, canary: Path, chance: random.Random) -> str:
    """Put code that makes the file `canary` into a checkpoint, and name it; where it is named."""
    components = sorted(path for path in folder.iterdir() if path.is_dir())
    chosen = chance.choice(components)
    for place in (folder, chosen):
        for name in ("planted.py", "pipeline.py", "modeling.py", "__init__.py"):
            (place / name).write_text(f"open({str(canary)!r}, 'w').close()\nclass Planted: pass\n")
    way = chance.choice(("auto_map", "library", "pipeline", "tokenizer class", "template"))
    if way == "library":
        entry = [chance.choice(MODULES), chance.choice(CLASSES)]
        _edit(folder / "model_index.json", chosen.name, entry)
    elif way == "pipeline":
        value: Any = [chance.choice(MODULES), chance.choice(CLASSES)]
        _edit(folder / "model_index.json", "_class_name", chance.choice((value, value[1])))
    else:
        config = next(iter(sorted(chosen.glob("*config.json"))))
        _edit(config, *_named(way, chance))
    return way


def _named(way: str, chance: random.Random) -> tuple[str, Any]:
    if way == "auto_map":
        named = "planted.Planted"
        kinds = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor")
        return "auto_map", chance.choice((dict.fromkeys(kinds, named), named, [named, None]))
    if way == "tokenizer class":
        return "tokenizer_class", chance.choice(("Planted", "planted.Planted", "os.system", 5))
    return "chat_template", "{{ ''.__class__.__mro__[1].__subclasses__() }}"


def _edit(path: Path, key: str, value: Any) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, key: value}))
