"""Write down what fields KServe's objects have: `python -m tests.k8s.record_kserve kserve==0.21.0` (needs pip).

KServe's Python package has a class for each type of its API, generated from the same Go types as the definitions that a
cluster checks objects by. They are read, not imported: names of fields, their types, and which must be there. What is
Kubernetes' own (`V1Container`) stays a name. Facts alone, of a package under the Apache licence.
"""

import ast
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOTS = ("V1alpha1ServingRuntime", "V1beta1InferenceService")
RECORDINGS = Path(__file__).with_name("recordings")
KINDS = ("V1alpha1", "V1beta1")
"""How the names of KServe's own types begin."""


def record(requirement: str) -> Path:
    """Fetch the wheel and write `recordings/REQUIREMENT.json`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).glob("*.whl")
        types = types_from_wheel(wheel)
    path = RECORDINGS / f"{requirement.replace('==', '-')}.json"
    path.parent.mkdir(exist_ok=True)
    rows = ",\n".join(f'"{name}": {json.dumps(types[name], sort_keys=True)}' for name in sorted(types))
    path.write_text("{\n" + rows + "\n}\n")
    return path


def types_from_wheel(wheel: Path) -> dict[str, Any]:
    """Every type that is reached from the roots: `{type: {"fields": {name: type}, "required": [name]}}`."""
    with zipfile.ZipFile(wheel) as archive:
        sources = [archive.read(name).decode() for name in archive.namelist() if name.startswith("kserve/models/v1")]
    known = {name: found for source in sources for name, found in _types(ast.parse(source))}
    types: dict[str, Any] = {}
    left = list(ROOTS)
    while left:
        name = left.pop()
        if name in known and name not in types:
            types[name] = known[name]
            left += [_inner(field) for field in known[name]["fields"].values()]
    return types


def _types(module: ast.Module) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith(KINDS):
            tables = {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in node.body
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
            }
            names = tables["attribute_map"]
            fields = {names[key]: kind for key, kind in tables["openapi_types"].items()}
            required = [names[key] for key in _required(node) if key in names]
            found.append((node.name, {"fields": fields, "required": sorted(required)}))
    return found


def _required(node: ast.ClassDef) -> list[str]:
    """What __init__ assigns whether it was given or not: `self.name = name` outside of an `if`."""
    [init] = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    return [
        statement.value.id
        for statement in init.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name)
    ]


def _inner(kind: str) -> str:
    """`V1Container` of `list[V1Container]` and `dict(str, V1Container)`."""
    return kind.removeprefix("list[").removeprefix("dict(str, ").rstrip("])")


if __name__ == "__main__":
    print(record(sys.argv[1]))
