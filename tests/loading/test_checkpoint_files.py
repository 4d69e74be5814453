"""JSON of checkpoints: an object from within the folder, or refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpnb.errors import CheckpointError, SettingsError
from dpnb.loading.checkpoint_files import (
    check_checkpoint_file,
    explain_settings_errors,
    format_json,
    read_checkpoint_json,
    write_json,
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_json(path, {"b": [1, 2], "a": None})
    assert read_checkpoint_json(path) == {"a": None, "b": [1, 2]}
    assert path.read_text() == format_json({"a": None, "b": [1, 2]})
    assert path.read_text().startswith('{\n  "a": null,')


@pytest.mark.parametrize(("text", "reason"), [("[1]", "JSON object"), ("{", "JSON"), ("", "JSON")])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint_json(path)


def test_a_file_that_is_not_there_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config.json; give the folder that holds it"):
        read_checkpoint_json(tmp_path / "config.json")
    with pytest.raises(CheckpointError):
        check_checkpoint_file(tmp_path)


def test_mistakes_over_settings_are_the_files(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match=r"config.json holds settings .*\(5 is too many\)"),
        explain_settings_errors(tmp_path / "config.json"),
    ):
        raise ValueError("5 is too many.")
    with pytest.raises(KeyboardInterrupt), explain_settings_errors(tmp_path / "config.json"):
        raise KeyboardInterrupt
