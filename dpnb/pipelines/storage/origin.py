"""Where a pipeline comes from: its files, brought here, and the classes that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from dpnb.errors import CheckpointError, ComponentError
from dpnb.loading.checkpoint_paths import check_inside, list_files
from dpnb.loading.components.custom_code import (
    Code,
    Trust,
    describe_code,
    find_pipeline,
    load_class,
)
from dpnb.loading.components.registry import OUR_LIBRARIES, PIPELINE_PARTS, PIPELINES, resolve
from dpnb.loading.file_selection import select_pipeline_files
from dpnb.loading.filenames import is_bare
from dpnb.loading.hub import fetch, local_folder
from dpnb.loading.model_card import CARD, read_connected_pipelines
from dpnb.loading.model_index import ComponentClass, ModelIndex
from dpnb.loading.saving.dduf import SUFFIX, open_dduf
from dpnb.loading.weights.weight_files import EmbeddedFiles
from dpnb.pipelines.foreign.community import HOMES
from dpnb.pipelines.protocols import StoredPipeline
from dpnb.pipelines.storage.options import LoadOptions

P = TypeVar("P", bound=StoredPipeline)

LIBRARIES = (*OUR_LIBRARIES, "transformers")


@dataclass(frozen=True)
class Origin:
    """The files of a pipeline.

    Attributes:
        name: what was asked for.
        folder: on this machine; of a DDUF file, its small files.
        index: what the folder says about itself.
        files: the names of all files that the folder or repository has, with `/`.
        embedded: weights that lie inside a DDUF file, by component.
    """

    name: str
    folder: Path
    index: ModelIndex
    files: frozenset[str]
    embedded: Mapping[str, EmbeddedFiles] = field(default_factory=dict)

    def custom_component(self, component: str) -> Code | None:
        """The code in the component's own folder that its entry names, if it does."""
        entry = self.index.components.get(component)
        if entry is None or entry[0] in LIBRARIES or entry in PIPELINE_PARTS:
            return None
        is_there = is_bare(entry[0]) and f"{component}/{entry[0]}.py" in self.files
        return Code(self.folder / component, *entry) if is_there else None


@contextmanager
def open_origin(
    cls: type[StoredPipeline], name: str, options: LoadOptions, given: Mapping[str, Any]
) -> Iterator[Origin]:
    """The files of the pipeline `name`, those of a DDUF file until the block ends.

    Nothing is fetched where code would have to run that may not.
    """
    if options.custom_pipeline is not None:
        Trust(options.trust_remote_code).check(describe_code(str(options.custom_pipeline)))
    path = find_dduf(name, options)
    if path is None:
        yield fetch_origin(cls, name, options, given)
        return
    with open_dduf(path) as content:
        index = ModelIndex.read(content.folder)
        select_files(content.names, cls, index, options, given)
        yield Origin(name, content.folder, index, frozenset(content.names), content.embedded)


def find_dduf(name: str, options: LoadOptions) -> Path | None:
    """The DDUF file that is meant, fetched if need be; `None` for a folder.

    Raises:
        ValueError: the file's name is none.
        CheckpointError: there is no such file.
    """
    if options.dduf_file is None:
        path = Path(name).expanduser()
        return path if path.suffix == SUFFIX and not path.is_dir() else None
    wanted = options.dduf_file
    if not wanted.endswith(SUFFIX) or not all(map(is_bare, wanted.split("/"))):
        raise ValueError(
            f"dduf_file={wanted!r} is not the name of a DDUF file in {name}; give one such as "
            f'"model{SUFFIX}".'
        )
    folder = fetch(name, lambda files: [f for f in files if f == wanted], options.hub)
    if not check_inside(folder / wanted, folder).is_file():
        raise CheckpointError(f"{name} has no file {wanted}; check dduf_file=.")
    return folder / wanted


def fetch_origin(
    cls: type[StoredPipeline],
    name: str,
    options: LoadOptions,
    given: Mapping[str, Any],
    *,
    is_built: bool = True,
) -> Origin:
    """The files of a pipeline in a folder or repository, those that are needed on this machine.

    Raises:
        ForeignCodeError: it is to be built, and code would have to run that may not.
    """
    folder = fetch(name, lambda files: [f for f in files if f == ModelIndex.file_name], options.hub)
    index = ModelIndex.read(folder)
    is_open = options.custom_pipeline is None and not cls.schema.components
    if is_built and is_open and isinstance(index.class_name, tuple):
        Trust(options.trust_remote_code).check(f"{index.class_name[0]}.py of {name}")
    every: list[str] = []

    def note_and_select(files: Sequence[str]) -> list[str]:
        every[:] = files
        if is_built:
            _check_components(Origin(name, folder, index, frozenset(files)), options, given)
        return select_files(files, cls, index, options, given)

    if local_folder(name) is not None:
        note_and_select(list_files(folder))
    else:
        folder = fetch(name, note_and_select, options.hub)
    return Origin(name, folder, index, frozenset(every))


def select_files(
    files: Sequence[str],
    cls: type[StoredPipeline],
    index: ModelIndex,
    options: LoadOptions,
    given: Mapping[str, Any],
) -> list[str]:
    """Those of `files` that are needed."""
    use_onnx = options.use_onnx
    return select_pipeline_files(
        files,
        index,
        variant=options.variant,
        use_safetensors=options.use_safetensors,
        passed=given.keys(),
        use_onnx=_runs_onnx(cls, index) if use_onnx is None else use_onnx,
        with_code=options.trust_remote_code,
    )


def resolve_class(cls: type[P], origin: Origin, options: LoadOptions) -> type[P]:
    """The class of the pipeline: the custom one, `cls`, or the one that the index names."""
    if options.custom_pipeline is not None:
        return load_custom_class(options, origin)
    if cls.schema.components:
        return cls
    if isinstance(origin.index.class_name, str):
        return cls.choose_class(resolve_pipeline_class(origin.index.class_name, origin.name))
    module, class_name = origin.index.class_name
    if f"{module}.py" not in origin.files:
        raise CheckpointError(
            f"{origin.name} names {class_name} of a file {module}.py, which it does not hold; pass "
            "custom_pipeline=, or load the components with a class of your own."
        )
    Trust(options.trust_remote_code).check(f"{module}.py of {origin.name}")
    code = Code(origin.folder, module, class_name)
    return _check_is_pipeline(load_class(code, base_class(), HOMES))


def load_custom_class(options: LoadOptions, origin: Origin | None = None) -> type[Any]:
    """The class that `custom_pipeline` means, once its code has run."""
    return _check_is_pipeline(load_class(find_custom_code(options, origin), base_class(), HOMES))


def find_custom_code(options: LoadOptions, origin: Origin | None = None) -> Code:
    """The code that `custom_pipeline` means, on this machine."""
    trust = Trust(options.trust_remote_code)
    return find_pipeline(
        str(options.custom_pipeline), origin, trust, options.hub, options.custom_revision
    )


def resolve_component_class(
    component: str, entry: ComponentClass, origin: Origin, options: LoadOptions
) -> type[Any]:
    """The class that the index gives for a component.

    Raises:
        ForeignCodeError: code would have to run that may not.
    """
    code = origin.custom_component(component)
    if code is None:
        return resolve(*entry)
    _check_component(component, code, origin, options)
    kind = load_class(code, object, HOMES)
    if not any("from_pretrained" in vars(ancestor) for ancestor in kind.__mro__):
        raise CheckpointError(
            f"{code.path}: {kind.__name__} has no from_pretrained and cannot be loaded; derive it "
            f"from ModelMixin, or pass {component}=..."
        )
    return kind


def resolve_pipeline_class(name: str, source: str = "…") -> type[Any]:
    """Our pipeline class of this name.

    Args:
        name: of the class.
        source: the folder or repository that names it, for errors.

    Raises:
        CheckpointError: there is no such class.
        ComponentError: it is no pipeline.
    """
    is_foreign = name.isidentifier() and name.endswith("Pipeline") and name not in PIPELINES
    if is_foreign and not name.startswith("Onnx"):
        raise CheckpointError(
            f"dpnb has no {name}; attach the pipeline that diffusers makes of it, "
            f"dpnb.attach(diffusers.{name}.from_pretrained({source!r})), or plan for it, "
            f"dpnb.plan({source!r})."
        )
    kind = resolve("diffusers", name)
    if name not in PIPELINES:
        raise ComponentError(
            f"the index names {name}, which is no pipeline; load it with {name}.from_pretrained."
        )
    return kind


def base_class() -> type[StoredPipeline]:
    """`DiffusionPipeline`."""
    return resolve("diffusers", "DiffusionPipeline")


def read_connected(
    cls: type[StoredPipeline], name: str, folder: Path, options: LoadOptions
) -> dict[str, str]:
    """The repositories that complete a pipeline of class `cls`, by the prefix of their parts."""
    is_wanted = options.load_connected_pipeline
    if is_wanted is False or not (is_wanted or cls._load_connected_pipes):
        return {}
    if local_folder(name) is None and PurePosixPath(name).suffix != SUFFIX:
        folder = fetch(name, lambda files: [f for f in files if f == CARD], options.hub)
    return read_connected_pipelines(folder)


def _check_components(origin: Origin, options: LoadOptions, given: Mapping[str, Any]) -> None:
    for component in sorted(origin.index.components.keys() - given.keys()):
        code = origin.custom_component(component)
        if code is not None:
            _check_component(component, code, origin, options)


def _check_component(component: str, code: Code, origin: Origin, options: LoadOptions) -> None:
    what = f"{component}/{code.module}.py of {origin.name}"
    Trust(options.trust_remote_code).check(what)


def _runs_onnx(cls: type[StoredPipeline], index: ModelIndex) -> bool:
    entries = [entry for entry in index.components.values() if entry is not None]
    return cls._is_onnx or any(class_name.startswith("Onnx") for _, class_name in entries)


def _check_is_pipeline(kind: type[Any]) -> type[Any]:
    if not issubclass(kind, base_class()):
        raise ComponentError(
            f"{kind.__name__} is no pipeline; derive it from DiffusionPipeline, or name another."
        )
    return kind
