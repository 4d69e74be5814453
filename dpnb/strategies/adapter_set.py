"""The adapters of a pipeline or of one network: those of files, and those of peft's layers.

What is loaded from files is switched by the strategy `LoRA`. peft's layers are the network's own,
which somebody trains: they compute without a strategy, and are switched as peft does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from torch import nn

from dpnb.errors import AdapterError, StrategyError
from dpnb.models.peft_layers import PeftLayers
from dpnb.nn.weight_changes import Change
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.fused import Fused
from dpnb.strategies.lora import Factors, LoRA, components_by_adapter, factor_of
from dpnb.strategies.stack import StrategyStack

ByAdapter: TypeAlias = Mapping[str, float | Factors]
"""Adapters by name, and a factor for each, or factors for the parts that it changes."""


@dataclass(frozen=True)
class AdapterSet:
    """The adapters of some networks.

    Attributes:
        stack: what is on at them.
        only: the components that are meant; none of them means all.
    """

    stack: StrategyStack
    only: tuple[str, ...] = ()

    def items(self, *names: str) -> list[tuple[str, nn.Module]]:
        """The networks that are meant, by the names of components; `names` are some of these."""
        found = self.stack.networks.items(*self.only)
        return [(name, network) for name, network in found if not names or name in names]

    @property
    def components(self) -> dict[str, list[str]]:
        """The adapters that there are, and the components that each changes."""
        found: dict[str, list[str]] = {}
        for component, network in self.items():
            for name in (*attachment_of(network).adapters, *PeftLayers(network).names):
                found.setdefault(name, []).append(component)
        return found

    @property
    def active(self) -> dict[str, float | Factors]:
        """Those that are on, and their factors as far as they were set; those of peft have 1."""
        known = self.components
        found = {name: factor for name, factor in self._factors().items() if name in known}
        if self.only:
            found = {n: f for n, f in found.items() if any(factor_of(f, c) for c in known[n])}
        for _, network in self.items():
            found |= {name: 1.0 for name in PeftLayers(network).active if name not in found}
        return found

    @property
    def fused(self) -> set[str]:
        """Those that have become part of the weights of some network."""
        all_fused = (attachment_of(network).fused for _, network in self.items())
        return {name for fused in all_fused for name in fused.changes}

    def check(self, names: Iterable[str]) -> None:
        """See to it that there are adapters of these names.

        Raises:
            AdapterError: there is none of one of them.
        """
        known = self.components
        if unknown := [name for name in names if name not in known]:
            raise AdapterError(
                f"{unknown[0]!r} is not in the list of present adapters; those that are loaded are "
                f"{', '.join(known) or 'none'}."
            )

    def name_for(self, name: str | None, *, in_place: bool) -> str:
        """What a new adapter is called.

        Args:
            name: what is asked for; `"default_0"` and so on by default.
            in_place: whether it takes the place of another.

        Raises:
            AdapterError: there is one of this name, whose place it does not take.
        """
        known = self.components
        numbered = (f"default_{i}" for i in range(len(known) + 1))
        name = name or next(free for free in numbered if free not in known)
        if name in known and not in_place:
            raise AdapterError(
                f"There is an adapter {name!r} already; choose another adapter_name, remove it "
                "with delete_adapters, or put this one in its place with hotswap=True."
            )
        return name

    def add(self, name: str, changes: Mapping[str, Mapping[str, Change]]) -> None:
        """Take in an adapter, and switch it on in place of others.

        Args:
            name: which is new.
            changes: by component and by the parameter's name.

        Raises:
            StrategyError: the networks cannot be changed so. It is not taken in then.
        """
        attachments = {c: attachment_of(network) for c, network in self.items() if c in changes}
        try:
            for component, attachment in attachments.items():
                attachment.adapters[name] = changes[component]
            self._use({name: 1.0})
        except BaseException:
            for attachment in attachments.values():
                attachment.adapters.pop(name, None)
            raise
        for component, network in self.items():
            if component in changes:
                PeftLayers(network).activate(())

    def swap(self, name: str, changes: Mapping[str, Mapping[str, Change]]) -> None:
        """Let an adapter change something else from now on; it is on or off as before.

        Args:
            name: of an adapter of files.
            changes: in place of its own; see `add`.

        Raises:
            AdapterError: there is no such adapter, or it is fused.
            StrategyError: the networks cannot be changed so. It is as before then.
        """
        attachments = {c: attachment_of(network) for c, network in self.items()}
        if all(name not in attachment.adapters for attachment in attachments.values()):
            raise AdapterError(
                f"There is no adapter {name!r} of a file to put another in the place of; leave "
                "hotswap out."
            )
        self._refuse_fused([name])
        former = {c: dict(attachment.adapters) for c, attachment in attachments.items()}
        before = self.stack.find(LoRA)
        self.stack.disable(LoRA)
        try:
            for component, attachment in attachments.items():
                if component in changes:
                    attachment.adapters[name] = changes[component]
                else:
                    attachment.adapters.pop(name, None)
            self._enable(before)
        except BaseException:
            for component, attachment in attachments.items():
                attachment.adapters.clear()
                attachment.adapters.update(former[component])
            self._enable(before)
            raise

    def set(self, factors: ByAdapter) -> None:
        """Switch exactly these on; those of networks that are not meant stay as they are.

        Raises:
            AdapterError: there is none of one of these names, or one is fused.
            StrategyError: the networks cannot be changed so.
        """
        self.check(factors)
        self._refuse_fused(factors)
        self._use(factors)
        for component, network in self.items():
            layers = PeftLayers(network)
            layers.activate(factors)
            for name, factor in factors.items():
                layers.set_factors(name, partial(_factor_at, factor, component))

    def delete(self, names: Iterable[str]) -> None:
        """Forget these; others that are on stay on, and what is fused stays fused."""
        gone = set(names)
        self._use({name: f for name, f in self._factors().items() if name not in gone})
        with self.stack.suspended():
            for _, network in self.items():
                attachment = attachment_of(network)
                attachment.fused.keep(gone)
                resting = attachment.fused.resting
                attachment.fused.resting = tuple(name for name in resting if name not in gone)
                for name in gone:
                    attachment.adapters.pop(name, None)
                PeftLayers(network).remove(gone)
        self.stack.notify()

    def unload(self) -> None:
        """Forget all; every weight is what it was, or what fusing has made of it."""
        self.delete(self.components)
        for _, network in self.items():
            attachment_of(network).fused = Fused()

    def switch_off(self) -> None:
        """Switch all off, also those that are fused; they stay loaded."""
        factors = self.active if self.only else {}
        for _, network in self.items() if factors else ():
            own = attachment_of(network)
            own.paused = {name: f for name, f in factors.items() if name in own.adapters}
        self._use({})
        self.unfuse()
        for _, network in self.items():
            PeftLayers(network).switch(on=False)

    def switch_on(self, former: LoRA | None) -> None:
        """Switch on what `switch_off` has switched off.

        Args:
            former: what of files was on; all adapters where it was not, or is not there any more.
        """
        if self.only:
            for _, network in self.items():
                own = attachment_of(network)
                if own.adapters.keys().isdisjoint(self.active):
                    left = {name: f for name, f in own.paused.items() if name in own.adapters}
                    self._use(left or dict.fromkeys(own.adapters, 1.0))
        elif self.stack.find(LoRA) is None and self._stored:
            is_whole = former is not None and self._stored.keys() >= set(former.adapters)
            self._enable(former if is_whole else LoRA())
        for _, network in self.items():
            PeftLayers(network).switch(on=True)

    def fuse(
        self, names: Iterable[str], components: Iterable[str], scale: float, *, safely: bool
    ) -> None:
        """Make adapters part of the plain weights.

        Args:
            names: of the adapters.
            components: whose weights change.
            scale: of the changes, times what is set.
            safely: whether weights that would not be finite are refused.

        Raises:
            AdapterError: there is none of one of these names.
            StrategyError: the weights are quantized, or would not be finite.
        """
        wanted = tuple(names)
        self.check(wanted)
        factors = self._factors()
        active = self.stack.find(LoRA) or LoRA()
        own = {name: factors.get(name, 1.0) for name in wanted if name in self._stored}
        lora = to_lora(scale * active.scale, own)
        with self.stack.suspended(), ExitStack() as undo:
            if lora is not None and (reason := lora.obstacle(self.stack.networks)) is not None:
                raise StrategyError(reason)
            for component, network in self.items(*components):
                changes = {} if lora is None else lora.changes(component, network)
                undo.callback(_fuse(network, changes, wanted, scale, safely=safely))
            undo.pop_all()

    def unfuse(self, *components: str) -> None:
        """Bring back the weights before `fuse`; the adapters act as they did then."""
        if self.fused:
            with self.stack.suspended():
                for _, network in self.items(*components):
                    fused, layers = attachment_of(network).fused, PeftLayers(network)
                    fused.unfuse(network)
                    if fused.resting:
                        layers.activate((*fused.resting, *layers.active))
                        fused.resting = ()

    @contextmanager
    def scaled(self, scale: float | None) -> Iterator[None]:
        """Within, what is on has this scale; `None` changes nothing."""
        with ExitStack() as peft:
            if scale is not None:
                for _, network in self.items():
                    peft.enter_context(PeftLayers(network).scaled(scale))
            before = self.stack.find(LoRA)
            if scale is None or before is None:
                yield
                return
            within = replace(before, scale=scale)
            self.stack.enable(within)
            try:
                yield
            finally:
                if self.stack.find(LoRA) == within:
                    self.stack.enable(before)

    def _factors(self) -> dict[str, float | Factors]:
        """The adapters of files that are on, and their factors."""
        active = self.stack.find(LoRA)
        if active is None:
            return {}
        names = active.adapters or tuple(self._stored)
        return dict(zip(names, active.weights or (1.0,) * len(names), strict=True))

    def _use(self, factors: ByAdapter) -> None:
        """Let exactly these adapters of files be on at the networks that are meant."""
        own = {name: factor for name, factor in factors.items() if name in self._stored}
        if self.only:
            own = self._beside_others(own)
        self._enable(to_lora((self.stack.find(LoRA) or LoRA()).scale, own))

    def _enable(self, lora: LoRA | None) -> None:
        if lora is None:
            self.stack.disable(LoRA)
        else:
            self.stack.enable(lora)

    @property
    def _stored(self) -> dict[str, list[str]]:
        """The adapters of files of all networks, and the components that each changes."""
        return components_by_adapter(self.stack.networks)

    def _beside_others(self, factors: ByAdapter) -> dict[str, float | Factors]:
        """These factors for the components that are meant, and those that others have now."""
        before, found = self._factors(), dict[str, float | Factors]()
        for name, components in self._stored.items():
            parts: list[tuple[str, float]] = []
            for component in components:
                source = factors if component in self.only else before
                given = source.get(name, 0.0)
                parts += [(component, factor_of(given, component))]
                if isinstance(given, tuple):
                    parts += [(part, f) for part, f in given if part.startswith(f"{component}.")]
            values = {factor for _, factor in parts}
            if name in factors or values != {0.0}:
                found[name] = values.pop() if len(values) == 1 else tuple(parts)
        return found

    def _refuse_fused(self, names: Iterable[str]) -> None:
        if fused := [name for name in names if name in self.fused]:
            raise AdapterError(
                f"The adapter {fused[0]!r} is fused into the weights; call unfuse_lora() before "
                "you set it anew."
            )


def to_lora(scale: float, factors: ByAdapter) -> LoRA | None:
    """The strategy for these adapters; `None` where there are none."""
    if not factors:
        return None
    weights = tuple(factors.values())
    is_plain = all(factor == 1.0 for factor in weights)
    return LoRA(scale, tuple(factors), () if is_plain else weights)


def _factor_at(factor: float | Factors, component: str, path: str) -> float:
    return factor_of(factor, f"{component}.{path}")


def _fuse(
    network: nn.Module,
    changes: Mapping[str, Mapping[str, Change]],
    names: tuple[str, ...],
    scale: float,
    *,
    safely: bool,
) -> Callable[[], None]:
    """Make changes, and those of peft's layers, part of a network's weights; what undoes that."""
    fused, layers = attachment_of(network).fused, PeftLayers(network)
    active = layers.active
    with layers.scaled(scale):
        own = layers.changes([name for name in names if name not in fused.changes])
    undo = fused.fuse(network, {**changes, **own}, safely=safely)
    if own:
        fused.resting += tuple(name for name in active if name in own)
        layers.activate(name for name in active if name not in own)

    def unfuse() -> None:
        undo()
        if own:
            layers.activate(active)

    return unfuse
