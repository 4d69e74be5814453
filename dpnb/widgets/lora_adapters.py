"""The low-rank weights of a session's pipeline: what is loaded, how strong it is, its words."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from traitlets import Bool, Tuple, Unicode

from dpnb.loading.adapters.adapter_files import (
    SUFFIXES,
    find_adapter_file,
    read_adapter_metadata,
)
from dpnb.loading.adapters.trigger_words import list_trigger_words
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.strategies.lora import Factors, LoRA, components_by_adapter
from dpnb.strategies.strategy import Plan
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.run_result import describe_error
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import State, StrategyState

USUAL_STEMS = ("pytorch_lora_weights", "adapter_model")
"""Names of files that say nothing of what is in them."""


class LoraSession(Protocol):
    """What low-rank weights need of the session whose pipeline holds them.

    Attributes:
        pipe: the pipeline.
        lock: is held while what is shown changes.
        strategy_state: what is switched on, and what will be.
    """

    pipe: ExplorablePipeline
    lock: threading.RLock
    strategy_state: StrategyState

    @property
    def is_drawing(self) -> bool:
        """Whether a run goes on or is about to begin."""
        ...

    def change(self, change: Callable[[Plan], Plan]) -> None:
        """Ask for the plan that `change` makes of the present one."""


@dataclass(frozen=True)
class LoadedLora:
    """Low-rank weights that a pipeline holds.

    Args:
        name: by which the pipeline knows them.
        scale: what they are multiplied by, 0 where they are off; `None` where parts of the
            networks have factors of their own.
        words: to which they answer.
    """

    name: str
    scale: float | None
    words: tuple[str, ...] = ()


class LoraState(State):
    """What is loaded, and what has become of the last request."""

    loaded = Tuple()
    """`LoadedLora`s, in the order in which they came."""

    message = Unicode()
    """What goes on, or what was done, in words."""

    error = Unicode()
    """Why the last request was refused or has failed; empty otherwise."""

    is_busy = Bool(False)
    """Whether something is being loaded."""


@runtime_checkable
class AdapterPipeline(Protocol):
    """A pipeline that takes low-rank weights, of dpnb or of diffusers."""

    def load_lora_weights(self, source: Any, adapter_name: str, /) -> None:
        """Load weights under this name, and switch them on."""
        ...

    def set_adapters(self, names: list[str], weights: list[float], /) -> None:
        """Switch exactly these on."""
        ...

    def delete_adapters(self, names: str, /) -> None:
        """Forget these."""
        ...

    def get_list_adapters(self) -> dict[str, list[str]]:
        """The names by component."""
        ...

    def get_active_adapters(self) -> list[str]:
        """Those that are on."""
        ...


Scales = dict[str, float | Factors]


class LoraAdapters:
    """Loads low-rank weights into a session's pipeline by its own methods, and takes them away.

    Args:
        session: whose pipeline it is.

    Attributes:
        state: to be observed; it is written from any thread.
        task: what loads or has loaded last; `None` before that.
    """

    def __init__(self, session: LoraSession) -> None:
        self._session = session
        self._words: dict[str, tuple[str, ...]] = {}
        pipe: Any = session.pipe
        is_foreign = isinstance(pipe, AttachedPipeline)
        self._pipe = pipe.pipe if is_foreign else pipe
        takes_lora = isinstance(self._pipe, AdapterPipeline)
        self.is_possible = takes_lora and (not is_foreign or find_spec("peft") is not None)
        """Whether the pipeline takes such weights."""
        self._store: OwnStore | ForeignStore = (
            ForeignStore(session, self._pipe) if is_foreign else OwnStore(session, self._pipe)
        )
        self.state = LoraState()
        self.task: BackgroundTask | None = None
        self.refresh()

    def refresh(self) -> None:
        """Show what is loaded, whoever has loaded it."""
        if not self.is_possible:
            return
        with self._session.lock:
            self.state.loaded = tuple(
                LoadedLora(
                    name,
                    None if isinstance(scale, tuple) else scale,
                    self._words.get(name, ()),
                )
                for name, scale in self._store.scales().items()
            )

    def load(self, place: str, scale: float = 1.0) -> BackgroundTask:
        """Load weights beside those that are there, on a thread of its own.

        Args:
            place: a file, a folder, a repository of the hub, or `owner/name/file`.
            scale: what they are multiplied by.

        Returns:
            What waits for the end with its `wait`.

        Raises:
            SessionError: something is drawn or loaded now.
            ValueError: no place is given.
        """
        place = place.strip()
        if not place:
            raise ValueError("There is nothing to load; write a file, a folder, or owner/name.")
        with self._session.lock, self.state.hold_trait_notifications():
            self._refuse_while_busy()
            self.state.is_busy, self.state.error = True, ""
            self.state.message = f"Loading {place} …"
        try:
            self.task = task = BackgroundTask(lambda: self._load(place, scale))
        except RuntimeError as failure:
            self._end("", failure)
            raise
        return task

    def set_scale(self, name: str, scale: float) -> None:
        """Multiply weights that are loaded by `scale`; during a run from the next step on.

        Raises:
            SessionError: this pipeline cannot do that while it draws.
        """
        self._store.set_scale(name, scale)
        self.refresh()

    def remove(self, name: str) -> None:
        """Forget weights; all others stay as they are.

        Raises:
            SessionError: something is drawn or loaded now.
        """
        with self._session.lock:
            self._refuse_while_busy()
        self._pipe.delete_adapters(name)
        self._store.forget(name)
        self._words.pop(name, None)
        self._end(f"{name} is gone.")

    def show_refusal(self, error: Exception) -> None:
        """Say why something could not be done."""
        with self._session.lock:
            self.state.error = describe_error(error)

    def _refuse_while_busy(self) -> None:
        refuse_while_drawing(self._session)
        if self.state.is_busy:
            raise SessionError("Other weights are being loaded; try again when they are there.")

    def _load(self, place: str, scale: float) -> None:
        try:
            file = _find_file(place)
            words = list_trigger_words(read_adapter_metadata(file))
            refuse_while_drawing(self._session)
            before = self._store.scales()
            name = _choose_name(place, file, before)
            self._pipe.load_lora_weights(str(file), adapter_name=name)
            self._words[name] = words
            try:
                self._store.use({**before, name: scale})
            except BaseException:
                self._pipe.delete_adapters(name)
                self._words.pop(name)
                if before:
                    self._store.use(before)
                raise
        except BaseException as failure:
            self._end("", failure)
            raise
        self._end(f"{name} is loaded.")

    def _end(self, message: str, failure: BaseException | None = None) -> None:
        state = self.state
        with self._session.lock, state.hold_trait_notifications():
            state.is_busy, state.message = False, message
            state.error = "" if failure is None else describe_error(failure)
            self.refresh()
        self._session.change(lambda plan: plan)


class OwnStore:
    """The low-rank weights of a pipeline of dpnb, switched on by the strategy `LoRA`.

    Args:
        session: what changes between two steps.
        pipe: the pipeline.
    """

    def __init__(self, session: LoraSession, pipe: Any) -> None:
        self._session, self._pipe = session, pipe

    def scales(self) -> Scales:
        """Name → what it is multiplied by, once all is switched that waits for the next step."""
        known = components_by_adapter(self._pipe.strategies.networks)
        return {**dict.fromkeys(known, 0.0), **_factors(self._session.strategy_state.wanted, known)}

    def use(self, scales: Mapping[str, float | Factors]) -> None:
        """Switch exactly these on."""
        active = self._pipe.strategies.find(LoRA) or LoRA()
        self._pipe.strategies.enable(_with_scales(active, scales))

    def set_scale(self, name: str, scale: float) -> None:
        """Change one, now or before the next step."""

        def change(plan: Plan) -> Plan:
            known = components_by_adapter(self._pipe.strategies.networks)
            former = next((s for s in plan if isinstance(s, LoRA)), LoRA())
            wanted = _with_scales(former, {**_factors(plan, known), name: scale})
            return frozenset(s for s in plan if s.slot != wanted.slot) | {wanted}

        self._session.change(change)

    def forget(self, name: str) -> None:
        """Nothing is kept of it here."""


class ForeignStore:
    """The low-rank weights of a pipeline that was not written here, switched on by its methods.

    Args:
        session: tells whether something is drawn.
        pipe: the pipeline.
    """

    def __init__(self, session: LoraSession, pipe: Any) -> None:
        self._session, self._pipe = session, pipe
        self._scales: Scales = {}

    def scales(self) -> Scales:
        """Name → what it is multiplied by, as far as it was set here."""
        if self._session.pipe.strategies.active:
            # Networks may be exchanged, whose adapters the pipeline does not see.
            return dict(self._scales)
        listed = self._pipe.get_list_adapters().values()
        active = self._pipe.get_active_adapters()
        names = dict.fromkeys(name for names in listed for name in names)
        self._scales = {
            name: self._scales.get(name, 1.0) if name in active else 0.0 for name in names
        }
        return dict(self._scales)

    def use(self, scales: Mapping[str, float | Factors]) -> None:
        """Switch exactly these on."""
        self._pipe.set_adapters(list(scales), list(scales.values()))
        self._scales = dict(scales)

    def set_scale(self, name: str, scale: float) -> None:
        """Change one, where nothing is drawn."""
        refuse_while_drawing(self._session)
        self.use({**self.scales(), name: scale})

    def forget(self, name: str) -> None:
        """It is not there any more."""
        self._scales.pop(name, None)


def refuse_while_drawing(session: LoraSession) -> None:
    """Say that weights stay as they are during a run.

    Raises:
        SessionError: something is drawn.
    """
    if session.is_drawing:
        raise SessionError("Something is drawn with these weights; wait for its end, or stop it.")


def _factors(plan: Plan, known: Mapping[str, Any]) -> Scales:
    """What a plan multiplies each of the adapters by that it switches on."""
    lora = next((s for s in plan if isinstance(s, LoRA)), None)
    if lora is None:
        return {}
    names = lora.adapters or tuple(known)
    return dict(zip(names, lora.weights or (1.0,) * len(names), strict=True))


def _with_scales(lora: LoRA, scales: Mapping[str, float | Factors]) -> LoRA:
    weights = tuple(scales.values())
    is_plain = all(weight == 1.0 for weight in weights)
    return replace(lora, adapters=tuple(scales), weights=() if is_plain else weights)


def _find_file(place: str) -> Path:
    """The file of weights at a place; of a repository also one that is named behind its name."""
    parts = PurePosixPath(place).parts
    is_within = len(parts) > 2 and parts[-1].endswith(SUFFIXES) and not place.startswith(("/", "~"))
    if is_within and not Path(place).exists():
        return find_adapter_file("/".join(parts[:2]), "/".join(parts[2:]))
    return find_adapter_file(place)


def _choose_name(place: str, file: Path, taken: Mapping[str, Any]) -> str:
    """A name that says what it is, of letters that module names may have."""
    stem = file.stem if file.stem not in USUAL_STEMS else Path(place).name.partition(".")[0]
    if stem in USUAL_STEMS:
        stem = file.parent.name
    name = re.sub(r"\W+", "_", stem).strip("_") or "lora"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(free for free in (name, *numbered) if free not in taken)
