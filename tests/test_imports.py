"""What each environment can import, and what `vision` may."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VISION_MAY_IMPORT = {"vision", "numpy", "cv2", "PIL", "pydantic", "simplejpeg"}
PACKAGES = {"gateway": ("vision", "clients", "gateway"), "builder": ("vision", "builder")}
ELSEWHERE = ("builder/frameworks/", "builder/backends/", "clients/examples/")
"""OpenMMLab's environment, Triton itself, and whatever the user of an example has."""


def modules_of(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    names = [path.relative_to(ROOT) for path in files if not str(path.relative_to(ROOT)).startswith(ELSEWHERE)]
    dotted = [".".join(name.with_suffix("").parts).removesuffix(".__init__") for name in names]
    return [name for name in dotted if not name.endswith("tether")]  # a script that is run by its path


@pytest.mark.parametrize("environment", PACKAGES)
def test_every_module_imports_where_it_runs(environment: str) -> None:
    """Every module imports in the environment that runs it, which holds less than the one for tests."""
    python = ROOT / ".venv" / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs {python.parent.parent}: make setup")
    modules = [name for package in PACKAGES[environment] for name in modules_of(package)]
    assert len(modules) > 20
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = subprocess.run([python, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "vision").glob("*.py")), ids=lambda path: path.name)
def test_vision_needs_little(path: Path) -> None:
    """`vision` imports NumPy, OpenCV, Pillow, pydantic, simplejpeg, the standard library, and of ours only itself."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    assert roots - VISION_MAY_IMPORT - sys.stdlib_module_names == set()
