"""Write down what a version of TensorRT's Python module has: `python -m tests.tensorrt_api.record REQUIREMENT`.

    python -m tests.tensorrt_api.record tensorrt-cu12-bindings==10.3.0      needs pip, gcc, nm and readelf

NVIDIA's binding wheels hold the real compiled module, and empty stand-ins for the libraries behind it let it be
imported: nothing in it can be run, but every class, member, enum value and signature can be read. What is written into
`recordings/VERSION.json.gz` has the form that `tests/tensorrt_api/surface.py` describes.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.tensorrt_api.surface import Surface, write

DUMP = r"""
import importlib, inspect, json, re, sys
sys.path.insert(0, sys.argv[1])
package = importlib.import_module("tensorrt_bindings")
module = importlib.import_module("tensorrt_bindings.tensorrt")

def overloads(obj, name):
    if inspect.isfunction(obj):
        return [", ".join(list(inspect.signature(obj).parameters))]
    found = re.findall(r"^(?:\d+\. )?" + re.escape(name) + r"\((.*)\)(?: -> .*)?$", obj.__doc__ or "", re.M)
    return [text.replace("tensorrt.tensorrt.", "").replace("tensorrt_bindings.", "").replace("tensorrt.", "")
            for text in found if text not in ("*args, **kwargs",)]

def members(cls, path):
    methods, properties, values = {}, {}, {}
    for name, attr in vars(cls).items():
        if name in ("__doc__", "__module__", "__dict__", "__weakref__", "__new__", "__getstate__", "__setstate__",
                    "_pybind11_conduit_v1_", "__entries", "__members__", "__hash__"):
            continue
        if isinstance(attr, property):
            properties[name] = ("r" if attr.fget else "") + ("w" if attr.fset else "")
        elif isinstance(attr, type):
            record(attr, path + "." + name)
        elif callable(attr):
            methods[name] = overloads(attr, name)
        elif isinstance(attr, staticmethod):
            methods[name] = overloads(attr.__func__, name)
        elif shown(attr):
            values[name] = shown(attr)
    return {"methods": methods, "properties": properties, "values": values}

def shown(value):
    enum = getattr(type(value), "__members__", None)
    return (type(value).__qualname__ + "." + value.name) if enum else None

def record(cls, path):
    if getattr(cls, "__members__", None):
        api["enums"][path] = {key: int(value) for key, value in cls.__members__.items()}
    else:
        bases = [base.__name__ for base in cls.__bases__ if base.__module__.startswith("tensorrt")]
        api["classes"][path] = {"bases": bases, **members(cls, path)}

api = {"version": package.__version__, "classes": {}, "enums": {}, "functions": {}, "values": {}}
for name in sorted(vars(package)):
    obj = vars(package)[name]
    if name.startswith("_") or inspect.ismodule(obj):
        continue
    if isinstance(obj, type):
        record(obj, name)
    elif callable(obj):
        api["functions"][name] = overloads(obj, name)
    elif shown(obj):
        api["values"][name] = shown(obj)
json.dump(api, sys.stdout)
"""


def recorded(requirement: str) -> Surface:
    """The surface of a binding wheel.

    Raises:
        subprocess.CalledProcessError: pip, gcc or the import failed; standard error says why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", name, requirement)
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
        _stand_ins(next(folder.rglob("tensorrt.so")), folder)
        environment = {"LD_LIBRARY_PATH": name, "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-W", "ignore", "-c", DUMP, name]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Surface(source=requirement, **json.loads(done.stdout))


def _stand_ins(module: Path, folder: Path) -> None:
    """Libraries of the names that the module needs; those functions that it calls while being imported do nothing."""
    undefined = _run("nm", "-D", "--undefined-only", str(module)).split()
    own = sorted({symbol for symbol in undefined if re.match(r"(create|get|initLib)[A-Z]\w*|_ZN1[14]nv\w+", symbol)})
    code = "\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in own)
    for library in re.findall(r"\[(libnv\w+\.so\.\d+)\]", _run("readelf", "-d", str(module))):
        source = folder / "library.c"
        source.write_text(code if library.startswith("libnvinfer.so") else "")
        _run("gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", str(folder / library), str(source))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(write(recorded(wanted)))
