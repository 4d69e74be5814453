"""What a browser does once files were chosen, with each version of ipywidgets."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import ipywidgets

IS_OLD = ipywidgets.__version__.startswith("7.")


def choose_files(upload: Any, *files: tuple[str, bytes]) -> None:
    """Fill an upload field.

    Args:
        upload: the field.
        files: names and contents.
    """
    if IS_OLD:
        kinds = {"type": "", "lastModified": 0}
        upload.metadata = [{"name": name, "size": len(data), **kinds} for name, data in files]
        upload.data = [data for _, data in files]
        upload._counter += len(files)
        return
    upload.value = tuple(
        {
            "name": name,
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.now(timezone.utc),
        }
        for name, content in files
    )


def count_widgets() -> int:
    """How many widgets are not closed."""
    return len(ipywidgets.Widget.widgets if IS_OLD else ipywidgets.widget._instances)
