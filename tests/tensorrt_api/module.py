"""A module `tensorrt` with exactly the names, members and signatures of one recorded version.

What a version lacks is an AttributeError or a TypeError, as with the real one. What its objects do stands in
`tests/tensorrt_api/behaviour.py`; what is recorded and has no behaviour there says so when it is called.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from tests.tensorrt_api import behaviour
from tests.tensorrt_api.surface import ClassSurface, Overloads, Surface

PARAMETER = re.compile(r"(\w+)(?:: (.*?))?(?: = (.*))?$", re.DOTALL)
LITERALS: Mapping[str, Any] = {"None": None, "True": True, "False": False}


class Enumeration:
    """One value of a recorded enum; as pybind11's, it is equal to its like and an index, and no int."""

    __members__: ClassVar[dict[str, "Enumeration"]] = {}

    def __init__(self, value: int) -> None:
        self.value = int(value)
        if self.value not in [member.value for member in type(self).__members__.values()] and self.__members__:
            raise ValueError(f"{value} is no {type(self).__name__}")

    @property
    def name(self) -> str:
        return next(name for name, member in type(self).__members__.items() if member.value == self.value)

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and int(other) == self.value

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.value))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self.value}>"


class Recorded:
    """What every recorded class is: only what was recorded can be set, and `state` is its behaviour's own."""

    state: SimpleNamespace
    surface: ClassVar[ModuleType]
    own_names: ClassVar[frozenset[str]] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property) or type(self).__module__ != "tensorrt":
            super().__setattr__(name, value)
        else:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def module_of(surface: Surface) -> ModuleType:
    """The module; put it into `sys.modules["tensorrt"]` before anything imports it."""
    module = ModuleType("tensorrt", f"recorded from {surface.source}")
    vars(module)["__version__"] = surface.version
    types: dict[str, type] = {}
    for path, numbers in surface.enums.items():
        types[path] = _enumeration(path, numbers)
    if "Logger.Severity" in types:
        types["Logger.Severity"] = types["ILogger.Severity"]
    for path in _bases_first(surface.classes):
        bases = tuple(types[base] for base in surface.classes[path]["bases"]) or (Recorded,)
        types[path] = _class(path, surface.classes[path], bases, types, module)
    for path, cls in types.items():
        outer, _, name = path.rpartition(".")
        setattr(types[outer] if outer else module, name, cls)
    for path, recorded in surface.classes.items():
        for name, value in recorded["values"].items():
            setattr(types[path], name, _value(value, types))
    for name, value in surface.values.items():
        setattr(module, name, _value(value, types))
    for name, overloads in surface.functions.items():
        setattr(module, name, _checked(name, overloads, getattr(behaviour, name, None), types))
    return module


def new(module: ModuleType, cls: str, /, **state: Any) -> Any:
    """An object of a class that cannot be constructed from outside."""
    made = object.__new__(getattr(module, cls))
    object.__setattr__(made, "state", SimpleNamespace(**state))
    return made


def _enumeration(path: str, numbers: Mapping[str, int]) -> type:
    cls = type(path.rpartition(".")[2], (Enumeration,), {"__members__": {}, "__module__": "tensorrt"})
    members = {name: cls(number) for name, number in numbers.items()}
    for name, member in members.items():
        setattr(cls, name, member)
    vars(cls)["__members__"].update(members)
    return cls


def _value(path: str, types: Mapping[str, type]) -> Any:
    enum, _, name = path.rpartition(".")
    return getattr(types[enum], name)


def _bases_first(classes: Mapping[str, ClassSurface]) -> Iterator[str]:
    done: set[str] = set()
    while len(done) < len(classes):
        ready = [path for path in classes if path not in done and set(classes[path]["bases"]) <= done]
        done.update(ready)
        yield from ready


def _class(
    path: str, recorded: ClassSurface, bases: tuple[type, ...], types: Mapping[str, type], module: ModuleType
) -> type:
    does: type | None = getattr(behaviour, path.replace(".", "_"), None)
    members: dict[str, Any] = {"__module__": "tensorrt", "surface": module}
    for name, overloads in recorded["methods"].items():
        if name not in ("__del__", "__init__"):
            members[name] = _checked(name, overloads, getattr(does, name, None) if does else None, types)
    for name, access in recorded["properties"].items():
        members[name] = _property(name, access, vars(does).get(name) if does else None)
    members["__init__"] = _constructor(path, recorded["methods"].get("__init__", []), does, types)
    if "__eq__" in members:
        members["__hash__"] = None
    if does is not None and issubclass(does, bytearray):  # what has the buffer protocol
        bases, members["__bool__"] = (*bases, bytearray), lambda self: True
    return type(path.rpartition(".")[2], bases, members)


def _constructor(path: str, overloads: Overloads, does: type | None, types: Mapping[str, type]) -> Callable[..., None]:
    own: Callable[..., None] = vars(does).get("__init__", _nothing) if does else _nothing
    check = _checked("__init__", overloads, own, types)

    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        if not overloads:
            raise TypeError(f"tensorrt.{path}: No constructor defined!")
        object.__setattr__(self, "state", SimpleNamespace())
        check(self, *arguments, **named)

    return construct


def _nothing(self: Any, **_: Any) -> None:
    """A constructor of what has no behaviour."""


def _property(name: str, access: str, own: Any) -> property:
    """Its behaviour's, or whatever was set; None before."""

    read = own.fget if isinstance(own, property) else None

    def value_of(self: Any) -> Any:
        return getattr(self.state, name, own) if read is None else read(self)

    def set_to(self: Any, value: Any) -> None:
        setattr(self.state, name, value)

    return property(value_of if "r" in access else None, set_to if "w" in access else None)


def _checked(name: str, overloads: Overloads, does: Any, types: Mapping[str, type]) -> Callable[..., Any]:
    """A function that refuses what no overload takes."""
    parsed = [_parameters(overload) for overload in overloads]

    def call(*arguments: Any, **named: Any) -> Any:
        for parameters in parsed:
            bound = _bound(parameters, arguments, named, types)
            if bound is not None:
                if does is None:
                    raise NotImplementedError(f"{name} is recorded, and tests/tensorrt_api/behaviour.py does nothing")
                own = bound.pop("self", None) if parameters and parameters[0][0] == "self" else None
                return does(**bound) if own is None else does(own, **bound)
        if name == "__eq__":
            return NotImplemented
        raise TypeError(f"{name}(): incompatible function arguments: {arguments} {named}, expected {overloads}")

    return call


Parameter = tuple[str, str | None, str | None]


def _parameters(overload: str) -> list[Parameter]:
    """Name, type and default of each."""
    parts, depth = [""], 0
    for letter in overload:
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    found = [PARAMETER.match(part.strip()) for part in parts if part.strip()]
    return [(match[1], match[2], match[3]) for match in found if match]


def _bound(
    parameters: list[Parameter], arguments: tuple[Any, ...], named: Mapping[str, Any], types: Mapping[str, type]
) -> dict[str, Any] | None:
    """Arguments by name, None where they do not fit."""
    if len(arguments) > len(parameters) or not set(named) <= {name for name, _, _ in parameters[len(arguments) :]}:
        return None
    bound = dict(zip((name for name, _, _ in parameters), arguments, strict=False)) | dict(named)
    for name, kind, default in parameters:
        if name in bound:
            if not _accepted(kind, bound[name], types) and not (bound[name] is None and default == "None"):
                return None
        elif default is None:
            return None
        elif default in LITERALS or default.isdecimal():
            bound[name] = LITERALS.get(default, default) if default in LITERALS else int(default)
    return None if any(name.startswith("arg") for name in named) else bound


def _accepted(kind: str | None, value: Any, types: Mapping[str, type]) -> bool:
    kind = (kind or "object").rpartition("::")[2].removeprefix("typing.").removeprefix("typing_extensions.")
    if kind in types:
        cls = types[kind]
        if kind.startswith("Dims") and isinstance(value, list | tuple):
            return all(hasattr(side, "__index__") for side in value)
        return isinstance(value, cls) and (issubclass(cls, Enumeration) or "state" in vars(value))
    match kind:
        case "int" | "SupportsInt" | "SupportsIndex":
            return hasattr(value, "__index__")
        case "float" | "SupportsFloat":
            return isinstance(value, int | float)
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "buffer" | "Buffer":
            return isinstance(value, bytes | bytearray | memoryview)
        case "list" | "tuple" | "slice":
            return type(value).__name__ == kind
        case _:
            return not kind.lower().startswith("list[") or isinstance(value, list | tuple)
