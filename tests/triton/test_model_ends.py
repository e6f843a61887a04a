"""The stub that runs `model.py` ends with Triton, whatever it is doing at that moment."""

import subprocess
import sys
import textwrap

import pytest

from tests.tiny_models import MODEL_PY

STUB = f"""
    import ctypes, subprocess, sys, types
    from importlib.machinery import SourceFileLoader

    sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
    model = types.ModuleType("model")
    SourceFileLoader("model", {str(MODEL_PY)!r}).exec_module(model)
    model.WATCH_S, model.STUCK_S = 0.1, float(sys.argv[1])
    triton = subprocess.Popen(["cat"])  # until standard input ends
    model.end_with(triton.pid)()
    print("watching", flush=True)
"""
AT_WORK = {
    "waiting": ("import time; time.sleep(60)", 60.0),
    "holding Python's lock": ("ctypes.PyDLL(None).sleep(60)", 0.5),  # as on a lock that a dead Triton holds
}
"""What it does, and after how many seconds the watchdog ends it that nobody puts off."""


@pytest.mark.parametrize("doing", AT_WORK)
def test_stub_ends_with_triton(doing: str) -> None:
    """It is gone soon after Triton, even when its Python cannot run."""
    work, stuck_s = AT_WORK[doing]
    command = [sys.executable, "-c", textwrap.dedent(STUB) + work, str(stuck_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stub:
        try:
            assert stub.stdin is not None
            assert stub.stdout is not None
            assert stub.stdout.readline() == b"watching\n"
            if doing == "waiting":
                with pytest.raises(subprocess.TimeoutExpired):
                    stub.wait(timeout=0.3)  # not before Triton has ended
            stub.stdin.close()
            assert stub.wait(timeout=20) != 0
        finally:
            stub.kill()
