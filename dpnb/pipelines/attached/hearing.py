"""Hearing what a pipeline does while it runs, without a change to what it does.

Networks are heard by hooks, schedulers by two of their methods; both are there for one run alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial, update_wrapper
from typing import Any, Protocol

from torch import Tensor, nn

from dpnb.pipelines.attached.roles import Role, step_methods
from dpnb.run_listener import Foresee
from dpnb.schedulers.predictions import predict_original
from dpnb.stages import Stage


class Hearer(Protocol):
    """Who is told of what a run does."""

    def note_stage(self, stage: Stage) -> None:
        """A network is about to compute that belongs to this stage."""
        ...

    def note_schedule(self, scheduler: Any) -> None:
        """A scheduler has been given its timesteps."""
        ...

    def note_prediction(self, foresee: Foresee) -> None:
        """A scheduler is about to make a step; `foresee` says what that leads to in the end."""
        ...

    def note_scheduler_step(self, scheduler: Any, timestep: Any, output: Any) -> None:
        """A scheduler has made a step; `output` is what it returns."""
        ...


@contextmanager
def hear(
    parts: Mapping[str, Any], roles: Mapping[str, Role], hearer: Hearer
) -> Iterator[ExitStack]:
    """Within, tell `hearer` what networks and schedulers do.

    Args:
        parts: the components of the pipeline.
        roles: what they do.
        hearer: is told.

    Yields:
        What ends with the block: schedulers that come later are heard through it as well.
    """
    with ExitStack() as undo:
        for name, role in roles.items():
            if role is Role.SCHEDULER:
                hear_scheduler(parts[name], hearer, undo)
            else:
                hear_networks(parts[name], role, hearer, undo)
        yield undo


def hear_networks(part: Any, role: Role, hearer: Hearer, undo: ExitStack) -> None:
    """Tell `hearer` of the calls of a component.

    Args:
        part: the component.
        role: what it does.
        hearer: is told.
        undo: takes the inverse.
    """
    for module, stage in _heard_modules(part, role):
        # Before whatever a strategy does there, which hears of the first step by this.
        hook = module.register_forward_pre_hook(HeardNetwork(hearer, stage), prepend=True)
        undo.callback(hook.remove)


class HeardNetwork:
    """A hook that tells of the calls of a network; a copy of it tells nobody.

    Args:
        hearer: is told; `None` for a copy.
        stage: to which the network belongs.
    """

    def __init__(self, hearer: Hearer | None, stage: Stage) -> None:
        self.hearer, self._stage = hearer, stage

    def __call__(self, *_: object) -> None:
        """Tell of a call."""
        if self.hearer is not None:
            self.hearer.note_stage(self._stage)

    def __deepcopy__(self, memo: dict[int, Any]) -> HeardNetwork:
        return HeardNetwork(None, self._stage)


def _heard_modules(part: Any, role: Role) -> Iterator[tuple[nn.Module, Stage]]:
    """The modules whose calls tell the stage of a run.

    An autoencoder is called by methods of its own, which call its encoder or its decoder.
    """
    if role is Role.TEXT_ENCODER:
        yield part, Stage.TEXT
    elif role is Role.IMAGE_ENCODER:
        yield part, Stage.ENCODING
    elif role is Role.DENOISER:
        yield part, Stage.DENOISING
    elif role is Role.CODER:
        for name, child in part.named_children():
            if name.startswith("encoder"):
                yield child, Stage.ENCODING
            elif name.startswith("decoder"):
                yield child, Stage.DECODING


def hear_scheduler(scheduler: Any, hearer: Hearer, undo: ExitStack) -> None:
    """Tell `hearer` of the schedules and steps of `scheduler`, and of copies that a run makes.

    Args:
        scheduler: has methods `step` and `set_timesteps`.
        hearer: is told.
        undo: takes the inverse.
    """
    own = vars(scheduler)

    def announce_step(name: str, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hearer.note_prediction(partial(_foresee, owner, name, args, kwargs))

    def tell_schedule(owner: Any, *_: Any, **__: Any) -> None:
        hearer.note_schedule(owner)

    def tell_step(owner: Any, output: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        timestep = (
            kwargs["timestep"] if "timestep" in kwargs else args[1] if len(args) > 1 else None
        )
        hearer.note_scheduler_step(owner, timestep, output)

    def hear_method(name: str, tell: Callable[..., None], announce: Callable[..., None]) -> None:
        if callable(vars_of_class(type(scheduler), name)) and name not in own:
            own[name] = HeardMethod(scheduler, name, tell, announce)
            undo.callback(own.pop, name, None)

    hear_method("set_timesteps", tell_schedule, lambda *_: None)
    for name in step_methods(scheduler):
        hear_method(name, tell_step, partial(announce_step, name))


def _foresee(
    scheduler: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor | None:
    """What a call of a scheduler's step leads to in the end, where that is known."""
    method = inspect.signature(vars_of_class(type(scheduler), name))
    given = method.bind_partial(scheduler, *args, **kwargs).arguments
    output, timestep, sample = (given.get(key) for key in ("model_output", "timestep", "sample"))
    if timestep is None or not isinstance(output, Tensor) or not isinstance(sample, Tensor):
        return None
    return predict_original(scheduler, output, timestep, sample)


def forget_hearing(scheduler: Any) -> None:
    """Take away what a copy of a scheduler that was heard has kept of that."""
    own = vars(scheduler)
    for name in [name for name, value in own.items() if isinstance(value, HeardMethod)]:
        del own[name]


def forget_hearing_of_copies(parts: Mapping[str, Any]) -> None:
    """Take away what copies of components, made in the middle of a run, have kept of that."""
    for part in parts.values():
        if isinstance(part, nn.Module):
            for module in part.modules():
                deaf = [key for key, hook in module._forward_pre_hooks.items() if _is_deaf(hook)]
                for key in deaf:
                    del module._forward_pre_hooks[key]
        elif "__dict__" in dir(part):
            forget_hearing(part)


def _is_deaf(hook: object) -> bool:
    return isinstance(hook, HeardNetwork) and hook.hearer is None


class HeardMethod:
    """A method that tells of its calls; a copy of its owner tells of its own.

    Args:
        owner: whose method it is.
        name: of the method of its class.
        tell: is called after it, with the owner, what it returned, and its arguments.
        announce: is called before it, with the owner and its arguments.
    """

    def __init__(
        self, owner: Any, name: str, tell: Callable[..., None], announce: Callable[..., None]
    ) -> None:
        method = partial(vars_of_class(type(owner), name), owner)
        update_wrapper(self, vars_of_class(type(owner), name).__get__(owner))
        self._owner, self._name, self._method = owner, name, method
        self._tell, self._announce = tell, announce

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method, and tell of it."""
        self._announce(self._owner, args, kwargs)
        output = self._method(*args, **kwargs)
        self._tell(self._owner, output, args, kwargs)
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> HeardMethod:
        copied = memo.get(id(self._owner))
        return (
            self if copied is None else HeardMethod(copied, self._name, self._tell, self._announce)
        )


def vars_of_class(kind: type, name: str) -> Any:
    """What a class, or one that it is derived from, defines by this name."""
    return next(vars(base)[name] for base in kind.__mro__ if name in vars(base))


def latents_of(output: Any) -> Tensor | None:
    """The latents among what a scheduler's step returns."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    if isinstance(first, Tensor):
        return first
    found = vars(output).get("prev_sample") if not isinstance(output, tuple) else None
    return found if isinstance(found, Tensor) else None
