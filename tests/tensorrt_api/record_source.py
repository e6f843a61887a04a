"""The same for versions that have no wheel, from the source of their Python module, which is public.

    git clone --branch 8.4.1 https://github.com/NVIDIA/TensorRT
    python -m tests.tensorrt_api.record_source TensorRT 8.4.1

Read are the pybind11 definitions in `python/src` and, for the numbers of enums, the headers in `include`. Names of
arguments stand there and their types do not: a function that 8.6.1 has with the same arguments is given its types. Held
against the wheel of 8.6.1, the source of 8.6.1 says the same (`difference`).
"""

import re
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tests.tensorrt_api.surface import ClassSurface, Overloads, Surface, surface_of, write

TYPED_BY = "8.6.1"
OPENING = re.compile(
    r"py::(class_|enum_)<([^;{]*?)>\s*(\w*)\s*[({]\s*(\w+),\s*\"(\w+)\"|\bm\.def\(\s*\"(\w+)\"|(\w+)\s*\.(?=def)"
)
CALL = re.compile(r"\.(def\w*|value)\(\s*(?:\"(\w+)\"|(py::(?:pickle_)?init)[<(])")
ARGUMENT = re.compile(r'"(\w+)"_a(\s*=)?')


def recorded(checkout: Path, version: str) -> Surface:
    """The surface that the source describes."""
    known = surface_of(TYPED_BY)
    sources = [_plain(path.read_text()) for path in sorted((checkout / "python" / "src").rglob("*.cpp"))]
    numbers = _numbers("\n".join(path.read_text() for path in (checkout / "include").glob("*.h")))
    surface = Surface(f"github.com/NVIDIA/TensorRT at {version}: python/src", version, {}, {}, {}, {})
    names: dict[str, str] = {}
    for text in sources:
        names.update({found[1].split(",")[0].strip(): found[4] for found in OPENING.findall(text) if found[4]})
    for text in sources:
        _read(text, surface, names, numbers, known)
        values = re.findall(r'm\.attr\("(\w+)"\) = (\w+)::k(\w+);', text)
        surface.values.update({name: f"{enum}.{value}" for name, enum, value in values})
    package = min((checkout / "python" / "packaging").rglob("__init__.py"), key=lambda path: len(str(path)))
    _read_package(package.read_text(), surface)
    return surface


def difference(one: Surface, other: Surface) -> Iterator[str]:
    """Where two recordings do not name the same, but for what pybind11 adds to every class and enum."""
    for path in sorted(one.classes.keys() ^ other.classes.keys() | one.enums.keys() ^ other.enums.keys()):
        yield path
    for path in sorted(one.classes.keys() & other.classes.keys()):
        mine, theirs = one.classes[path], other.classes[path]
        for member in sorted(mine["properties"].items() ^ theirs["properties"].items()):
            yield f"{path}.{member}"
        for name in sorted(mine["methods"].keys() | theirs["methods"].keys()):
            if name == "__init__" or not name.startswith("__"):
                arguments = [sorted(map(_names, side["methods"].get(name, []))) for side in (mine, theirs)]
                if arguments[0] != arguments[1]:
                    yield f"{path}.{name}: {arguments[0]} and {arguments[1]}"
    for path in sorted(one.enums.keys() & other.enums.keys()):
        if one.enums[path] != other.enums[path]:
            yield f"{path}: {one.enums[path]} and {other.enums[path]}"


def _read(text: str, surface: Surface, names: dict[str, str], numbers: dict[str, int], known: Surface) -> None:
    """What one source file defines: each definition ends where the next begins."""
    variables: dict[str, str] = {}
    found = list(OPENING.finditer(text))
    for opening, following in zip_longest(found, found[1:]):
        body = text[opening.end() - 1 : following.start() if following else len(text)]
        kind, types, variable, scope, name, function, continued = opening.groups()
        if function:
            surface.functions[function] = [_arguments(_argument_text(text, opening.start() + 1))]
        elif kind == "enum_":
            path = f"{variables[scope]}.{name}" if scope in variables else name
            members = re.findall(r'\.value\(\s*"(\w+)"', body)
            enum = types.split("::")[-1].strip()
            values = {member: numbers.get(f"{enum}::{member}", index) for index, member in enumerate(members)}
            surface.enums[path] = values
            if ".export_values()" in body and scope in variables:
                exported = {member: f"{path}.{member}" for member in members}
                surface.classes[variables[scope]]["values"].update(exported)
        elif kind == "class_":
            variables[variable or "?"] = name
            bases = [names[base.strip()] for base in types.split(",")[1:] if base.strip() in names]
            surface.classes[name] = {"bases": bases, "methods": {}, "properties": {}, "values": {}}
            _members(body, name, surface.classes[name], known)
        elif continued in variables:
            _members(f".{body.lstrip('.')}", variables[continued], surface.classes[variables[continued]], known)


def _members(body: str, path: str, into: ClassSurface, known: Surface) -> None:
    for call in CALL.finditer(body):
        how, name, init = call.groups()
        text = _argument_text(body, call.start() + 1)
        if init:
            name = "__init__"
        if how in ("def", "def_static"):
            overloads = into["methods"].setdefault(name, [])
            typed = _typed(known, path, name, _arguments(text, None if how == "def_static" else path))
            overloads += [overload for overload in typed if overload not in overloads]
        elif how == "def_property":
            into["properties"][name] = "w" if re.search(rf'"{name}",\s*nullptr', text) else "rw"
        elif how in ("def_readwrite", "def_property_readonly", "def_readonly", "def_property_readonly_static"):
            into["properties"][name] = "rw" if how == "def_readwrite" else "r"


def _arguments(text: str, path: str | None = None) -> str:
    own = [] if path is None else [f"self: {path}"]
    named = [f"{name}: object{' = None' if default else ''}" for name, default in ARGUMENT.findall(text)]
    return ", ".join(own + named)


def _typed(known: Surface, path: str, name: str, arguments: str) -> Overloads:
    """The overload of the typed version that takes the same names; those that name none, where the source does not."""
    overloads: Overloads = known.classes.get(path, {"methods": {}})["methods"].get(name, [])
    same = [overload for overload in overloads if _names(overload) == _names(arguments)]
    unnamed = [overload for overload in overloads if "arg0" in overload] if _names(arguments) == ["self"] else []
    return same or unnamed or [arguments]


def _names(overload: str) -> list[str]:
    """The names of what an overload takes, whatever their types."""
    return re.findall(r"(?:^|, )(\w+)(?=[:,]|$)", overload)


def _argument_text(text: str, start: int) -> str:
    """What stands within the brackets that open behind `start`."""
    depth, begun = 0, text.index("(", start)
    for index in range(begun, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return text[begun + 1 : index]
    return text[begun:]


def _plain(code: str) -> str:
    """Without comments, and without what only other builds have than those that NVIDIA gives out."""
    return re.sub(r"//[^\n]*|/\*.*?\*/|#if ENABLE_.*?#endif", "", code, flags=re.DOTALL)


def _numbers(headers: str) -> dict[str, int]:
    """`Enum::NAME` to its number."""
    numbers = {}
    for enum, body in re.findall(r"enum class (\w+)[^{;]*\{(.*?)\};", _plain(headers), re.DOTALL):
        numbers.update({f"{enum}::{name}": int(value) for name, value in re.findall(r"k(\w+)\s*=\s*(\d+)", body)})
    return numbers


def _read_package(code: str, surface: Surface) -> None:
    """What Python adds: context managers, and two functions."""
    for name in re.findall(r"^\s*(\w+)\.__enter__ =", code, re.MULTILINE):
        if name in surface.classes:
            exits = {"__enter__": ["this"], "__exit__": ["this, exc_type, exc_value, traceback"]}
            surface.classes[name]["methods"].update(exits)
    for name, arguments in re.findall(r"^def ([a-z]\w*)\((.*)\):", code, re.MULTILINE):
        surface.functions[name] = [arguments]
    surface.enums["Logger.Severity"] = surface.enums["ILogger.Severity"]
    surface.classes["Logger"]["values"].update(surface.classes["ILogger"]["values"])


if __name__ == "__main__":
    print(write(recorded(Path(sys.argv[1]), sys.argv[2])))
