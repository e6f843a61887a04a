"""The stub that runs `model.py` ends with Triton, whatever it is doing at that moment."""

import subprocess
import sys
import textwrap
import time

import pytest

from tests.tiny_models import MODEL_PY

STUB = f"""
    import ctypes, subprocess, sys, types
    from importlib.machinery import SourceFileLoader

    sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
    model = types.ModuleType("model")
    SourceFileLoader("model", {str(MODEL_PY)!r}).exec_module(model)
    model.WATCH_S, model.STUCK_S = 0.1, 0.5
    triton = subprocess.Popen(["sleep", "1"])
    model.end_with(triton.pid)()
    print("watching", flush=True)
"""
AT_WORK = {
    "waiting": "import time; time.sleep(60)",
    "holding Python's lock": "ctypes.PyDLL(None).sleep(60)",  # as the stub does on a lock that a dead Triton holds
}


@pytest.mark.parametrize("doing", AT_WORK)
def test_stub_ends_with_triton(doing: str) -> None:
    """It is gone soon after Triton, even when its Python cannot run."""
    script = textwrap.dedent(STUB) + AT_WORK[doing]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stub:
        try:
            assert stub.stdout is not None
            assert stub.stdout.readline() == b"watching\n"
            before = time.monotonic()
            assert stub.wait(timeout=20) != 0
            assert time.monotonic() - before > 0.5  # not before Triton has ended
        finally:
            stub.kill()
