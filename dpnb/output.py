"""What models, schedulers and pipelines return: fields that are entries of a mapping, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch.utils import _pytree as pytree
from typing_extensions import Self, override


@dataclass(eq=False)
class Output(dict[str, Any]):
    """The base of what a call returns; its subclasses are dataclasses.

    `output.images`, `output["images"]` and `output[0]` are the same, also when they are set. A
    field that is None is no entry, so that `to_tuple` and indices leave it out. As of any mapping,
    what is iterated over are names; `to_tuple` gives the values.

    Raises:
        TypeError: an entry is removed, or added that is no field.
    """

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pytree.register_pytree_node(cls, cls._flatten, cls._unflatten)

    def __post_init__(self) -> None:
        """Take the entries of a mapping that stands alone: what copies dictionaries gives one."""
        names = [*self.__dataclass_fields__]
        first = vars(self)[names[0]] if names else None
        if isinstance(first, Mapping) and len(self) == 1 and first.keys() <= {*names}:
            for name in names:
                setattr(self, name, first.get(name))

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(self.values())

    def as_asked(self, return_dict: bool) -> Self:
        """Itself, or with `return_dict=False` a plain tuple of its fields, which has no type."""
        plain: Any = tuple(vars(self).values())
        return self if return_dict else plain

    @override
    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    @override
    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.__dataclass_fields__:
            names = ", ".join(self.__dataclass_fields__)
            raise TypeError(f"{type(self).__name__} has no field {key!r}; it has {names}.")
        setattr(self, key, value)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self.__dataclass_fields__:
            return
        if value is not None and (name in self or [*self.__dataclass_fields__][len(self)] == name):
            super().__setitem__(name, value)
            return
        own = vars(self)
        super().clear()
        super().update({n: own[n] for n in self.__dataclass_fields__ if own.get(n) is not None})

    @override
    def update(self, *entries: Any, **more: Any) -> None:
        """Set fields, given as for any mapping."""
        for name, value in dict(*entries, **more).items():
            self[name] = value

    def _keep(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"The fields of {type(self).__name__} cannot be removed; set one to None, or change a "
            "copy: dict(output)."
        )

    __delitem__ = pop = popitem = clear = setdefault = _keep

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._unflatten, ([*vars(self).values()], [*vars(self)])

    @classmethod
    def _flatten(cls, output: Self) -> tuple[list[Any], list[str]]:
        return [*output.values()], [*output]

    @classmethod
    def _unflatten(cls, values: Iterable[Any], names: Iterable[str]) -> Self:
        return cls(**dict(zip(names, values, strict=True)))
