"""A pipeline that was not written here, as the instrument sees it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.quantized import nbytes_of
from dpnb.pipelines.attached.alterations import refuse_alteration
from dpnb.pipelines.attached.attached_run import (
    AttachedRun,
    AttachError,
    Caller,
    ignore,
    is_led_here,
    notify_run,
)
from dpnb.pipelines.attached.call_stream import CallStream
from dpnb.pipelines.attached.component_changes import ComponentChanges
from dpnb.pipelines.attached.copies import Copies
from dpnb.pipelines.attached.demands import demands_on, paths_behind, takes_gradients
from dpnb.pipelines.attached.doubling import GuidedCalls
from dpnb.pipelines.attached.exchanges import KnownNetworks, share_all
from dpnb.pipelines.attached.heard_class import make_heard_class
from dpnb.pipelines.attached.hearing import (
    forget_hearing,
    hear,
    hear_networks,
    hear_scheduler,
)
from dpnb.pipelines.attached.parts import declared, find_name, find_parts, holders_of, is_network
from dpnb.pipelines.attached.picture_arguments import list_picture_inputs
from dpnb.pipelines.attached.roles import Role, find_roles, find_schedulers, order_of_use
from dpnb.pipelines.attached.sizes import find_default_size, find_size_unit
from dpnb.pipelines.attached.traces import Traces
from dpnb.pipelines.call_arguments import CallSignature
from dpnb.pipelines.listeners import Run
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.run_listener import RunListener
from dpnb.stages import Step
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.undo import Undo
from dpnb.units import format_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

DETACHED = "This {} was detached; attach it again with dpnb.attach."


class AttachedPipeline(Copies, GuidedCalls):
    """The instrument on a pipeline that somebody else has written. Made by `dpnb.attach(pipe)`.

    The pipeline stays the same object, and calls of it are heard. What is switched on here acts on
    its networks.

    Attributes:
        pipe: the pipeline.
    """

    is_attached = True
    decodes_at_once = False
    """Only the pipeline's own code knows what it does after the last step."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._kind = type(pipe)
        heard = make_heard_class(self._kind, self)
        self._is_detached = False
        self._listeners: list[RunListener[Run]] = []
        self._is_interrupted = False
        self._heard: tuple[AttachedRun, ExitStack] | None = None
        self._known = KnownNetworks()
        self._exchanged: dict[str, Any] = {}
        self._traces = Traces(self.parts())
        self._strategies = StrategyStack(self)
        self._changes = ComponentChanges(self)
        object.__setattr__(pipe, "__class__", heard)

    @override
    def __repr__(self) -> str:
        on = ", ".join(sorted(map(repr, self._strategies.active))) or "nothing"
        state = "detached" if self._is_detached else f"attached, {on} on"
        lines = [f"{self.class_name}, {state}"]
        for name, part in self.parts().items():
            size = f" ({format_bytes(nbytes_of(part))})" if is_network(part) else ""
            lines.append(f"  {name}: {'none' if part is None else type(part).__name__}{size}")
        return "\n".join(lines)

    # --- what it is made of ---

    @property
    def class_name(self) -> str:
        """The name of the pipeline's class."""
        return self._kind.__name__

    @property
    def name_or_path(self) -> str | None:
        """What it was loaded from; `None` where it does not say."""
        return find_name(self.pipe)

    @property
    def is_detached(self) -> bool:
        """Whether the pipeline is its owner's alone again."""
        return self._is_detached

    def parts(self) -> Mapping[str, Any]:
        """The components by name; those of a list each, numbered from 0."""
        return {} if self._is_detached else find_parts(self.pipe)

    @property
    def roles(self) -> dict[str, Role]:
        """What each component does in a run."""
        return find_roles(self.parts())

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """The names of the networks in the order of their use."""
        given = declared(self.pipe, "model_cpu_offload_seq")
        return tuple(given.split("->") if given else order_of_use(self.parts(), self.roles))

    @property
    def never_offloaded(self) -> tuple[str, ...]:
        """The names of the networks that the pipeline excludes from offloading."""
        return tuple(declared(self.pipe, "_exclude_from_cpu_offload") or ())

    @property
    def scheduler(self) -> Any:
        """What leads through the denoising steps; `None` where nothing does."""
        return vars(self.pipe).get("scheduler") or next(iter(find_schedulers(self.parts())), None)

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:
        self.pipe.scheduler = scheduler

    def known_networks(self) -> Mapping[str, nn.Module]:
        """Name of a component that others have written → dpnb's network of the same shape.

        Only where that has all that the pipeline's own code asks of the component.
        """
        parts, kind = {**self.parts(), **self._exchanged}, cast(Hashable, self._kind)
        return {
            name: network
            for name, network in self._known.of(parts).items()
            if demands_on(kind, name).are_met_by(network, parts[name])
        }

    def paths_into(self, name: str) -> frozenset[SourcePath]:
        """What the pipeline's own code follows from a component on."""
        return paths_behind(cast(Hashable, self._kind), name.partition("[")[0])

    @property
    def takes_gradients(self) -> bool:
        """Whether its runs compute gradients."""
        return takes_gradients(cast(Hashable, self._kind))

    def exchange(self, name: str, undo: Undo) -> None:
        """Let dpnb's network stand for a component, around the same tensors.

        Raises:
            StrategyError: somebody has changed what the component computes.
        """
        part = self.parts()[name]
        network = self._known.network_for(part)
        assert network is not None
        refuse_alteration(name, part)
        share_all(network, part, undo)
        undo.callback(self._exchanged.pop, name, None)
        self._exchanged[name] = part
        for holder, attribute in holders_of(self.pipe, part):
            undo.callback(holder.__setitem__, attribute, part)
            holder[attribute] = network
        if self._heard is not None:
            attached, until_end = self._heard
            hear_networks(network, self.roles[name], attached, until_end)

    # --- what it draws ---

    @property
    def call_signature(self) -> CallSignature:
        """The arguments of the pipeline's call."""
        return CallSignature.of(self._kind.__call__)

    @property
    def picture_inputs(self) -> tuple[PictureInput, ...]:
        """The pictures that its call takes, those first that must be given."""
        return list_picture_inputs(self.call_signature)

    @property
    def size_unit(self) -> int:
        """Height and width are multiples of it, in pixels."""
        return find_size_unit(self.pipe, self.parts())

    def default_size(self) -> tuple[int, int] | None:
        """Height and width that are drawn where none are given, where that is known."""
        return find_default_size(self.pipe, self.call_signature, self.parts())

    def preview(self, latents: Tensor) -> list[Image] | None:
        """`None`: only the pipeline's own code knows how latents become pictures."""
        return None

    # --- what is switched on ---

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on, and the one way to change it."""
        return self._strategies

    @property
    def execution_device(self) -> torch.device:
        """Where a run computes."""
        return self._strategies.execution_device

    # --- runs ---

    def watch(self, listener: RunListener[Run]) -> Callable[[], None]:
        """Call `listener` in every run that begins from now on; what is returned stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def listeners(self) -> Sequence[RunListener[Run]]:
        """The listeners that are called in runs."""
        return self._listeners

    @property
    def interrupt(self) -> bool:
        """Whether the present run has been told to end."""
        return self._is_interrupted

    @property
    def ends_early(self) -> bool:
        """Whether the pipeline's own code ends its steps when it is told to."""
        return isinstance(inspect.getattr_static(self._kind, "interrupt", None), property)

    def interrupt_run(self) -> None:
        """Let the present run end after its present step.

        It decodes what it has then, where the pipeline can; elsewhere it ends with an
        `InterruptedRunError`.
        """
        self._is_interrupted = True
        if self.ends_early:
            self.pipe._interrupt = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the pipeline."""
        return self.pipe(*args, **kwargs)

    def make_run(self, **arguments: Any) -> Callable[[], Any]:
        """A run that takes place when what is returned is called.

        Raises:
            AttachError: it was detached.
            TypeError: an argument is unknown or missing.
        """
        if self._is_detached:
            raise AttachError(DETACHED.format(self.class_name))
        inspect.signature(self._kind.__call__).bind(self.pipe, **arguments)
        return partial(self.pipe, **arguments)

    def stream(self, **arguments: Any) -> Iterator[Step]:
        """A run, step by step; the last one holds the output.

        The pipeline's code runs in a thread of its own, and only while a step is asked for.

        Raises:
            TypeError: an argument is unknown or missing.
        """
        self.make_run(**arguments)

        def call(report: Callable[[Step], None]) -> None:
            self._run((), arguments, Caller(report, stream.leave, lambda: stream.asker))

        stream = CallStream(call)
        return stream.steps()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the pipeline's own code, and tell listeners of it.

        Called by code that is in the middle of a run by the same scheduler, it is a part of that.
        """
        if any(map(is_led_here, find_schedulers(self.parts()))):
            return self._kind.__call__(self.pipe, *args, **kwargs)
        return self._run(args, kwargs, Caller())

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], caller: Caller) -> Any:
        if self._heard is None and self._is_stale():
            self._changes.make("a component has other settings", ignore)
        listeners, parts, roles = tuple(self._listeners), self.parts(), self.roles
        run = Run.of(self, listeners, {**kwargs, "positional": args})
        self._traces.note(parts)
        with ExitStack() as around:
            around.enter_context(notify_run(run))
            leading = find_schedulers(parts)
            call = self._strategies.exclusive_call(leading, caller.leave, caller.asker)
            exclusive = around.enter_context(call)
            around.enter_context(self._strategies.begin_run(run))
            self._is_interrupted = False
            attached = AttachedRun(self, run, exclusive, caller.on_step)
            attached.begin()
            with hear(parts, roles, attached) as undo, self._heard_by(attached, undo):
                for name, part in self._exchanged.items():
                    hear_networks(part, roles[name], attached, undo)
                output = self._kind.__call__(self.pipe, *args, **kwargs)
            attached.end(output)
        return output

    def note_parts(self) -> None:
        """Components are about to change."""
        self._traces.note(self.parts())

    def _is_stale(self) -> bool:
        """Whether a component has other settings now than the network that stands for it."""
        now, former = self.parts(), self._exchanged.items()
        return any(now.get(name) is not self._known.network_for(part) for name, part in former)

    @contextmanager
    def _heard_by(self, attached: AttachedRun, undo: ExitStack) -> Iterator[None]:
        around, self._heard = self._heard, (attached, undo)
        try:
            yield
        finally:
            self._heard = around
            if around is None:
                self.note_parts()
                for scheduler in find_schedulers(self.parts()):
                    forget_hearing(scheduler)  # it may be a copy of the one that was heard

    # --- coming and going ---

    def replace_attribute(self, name: str, value: Any, assign: Callable[[], None]) -> None:
        """An attribute of the pipeline is set: a network that replaces another gets what is on."""
        former = vars(self.pipe).get(name)
        if name in self.parts() and (is_network(value) or is_network(former)):
            self._changes.make(f"the new {name} is in place", assign)
            return
        assign()
        if self._heard is not None:
            attached, undo = self._heard
            attached.note_attribute(name, value)
            if find_roles({name: value}).get(name) is Role.SCHEDULER:
                hear_scheduler(value, attached, undo)

    def change_by(self, name: str, call: Callable[[], Any]) -> Any:
        """What `call`, the pipeline's method of this name, returns; it changes components.

        Raises:
            StrategyError: what was switched on cannot serve after it; nothing is on then.
        """
        return self._changes.make(f"{name} has taken effect", call)

    def locate(self, own: Callable[[], torch.device]) -> torch.device:
        """Where a run computes: `own` says where the pipeline believes that."""
        return self._strategies.placement_device or own()

    def call_without_strategies(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, made while nothing is switched on."""
        with self._strategies.suspended():
            return call()

    def detach(self) -> None:
        """Leave the pipeline as it was: nothing is on, and its calls are not heard any more.

        What is on at networks that another pipeline shares stays on there.

        Raises:
            AttachError: a run goes on.
            BrokenPipelineError: a strategy could not be switched off.
        """
        if self._is_detached:
            return
        if self._heard is not None or self._strategies.is_running:
            raise AttachError(
                f"This {self.class_name} is in the middle of a run; detach it when that is over."
            )
        if len(self._strategies.networks.owners) == 1:
            self._strategies.use(())
        with self._strategies.change_components(self):
            self._is_detached = True
        self._strategies.retire(DETACHED.format(self.class_name))
        object.__setattr__(self.pipe, "__class__", self._kind)
        self._known.clear()
        self._traces.remove()
