"""The mmdeploy SDK with its own profiler on, through its C interface: the Python one does not expose the profiler.

Functions and structures as in csrc/mmdeploy/apis/c/mmdeploy/{common,model,detector}.h of mmdeploy 1.3.1.
"""

import ctypes
import os
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROFILER = 5  # of mmdeploy_context_type_t


class _Mat(ctypes.Structure):
    """mmdeploy_mat_t; format 0 is BGR, type 2 is uint8."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("channel", ctypes.c_int),
        ("format", ctypes.c_int),
        ("type", ctypes.c_int),
        ("device", ctypes.c_void_p),
    ]


class ProfiledDetector:
    """A detector bundle on the CPU; `close` returns how long every stage took in every call."""

    def __init__(self, bundle: Path, profile: Path) -> None:
        self._library = _library()
        self._profile = profile
        self._profiler, self._context = ctypes.c_void_p(), ctypes.c_void_p()
        self._model, self._detector = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("mmdeploy_profiler_create", os.fsencode(profile), ctypes.byref(self._profiler))
        self._call("mmdeploy_context_create_by_device", b"cpu", ctypes.c_int(0), ctypes.byref(self._context))
        self._call("mmdeploy_context_add", self._context, ctypes.c_int(PROFILER), None, self._profiler)
        self._call("mmdeploy_model_create_by_path", os.fsencode(bundle), ctypes.byref(self._model))
        self._call("mmdeploy_detector_create_v2", self._model, self._context, ctypes.byref(self._detector))

    def __call__(self, image_bgr: NDArray[np.uint8]) -> int:
        """Detect on one contiguous uint8 BGR photo; returns how many boxes were found."""
        height, width, channels = image_bgr.shape
        mat = _Mat(image_bgr.ctypes.data, height, width, channels, 0, 2, None)
        results, counts = ctypes.c_void_p(), ctypes.POINTER(ctypes.c_int)()
        one = ctypes.c_int(1)
        self._call(
            "mmdeploy_detector_apply",
            self._detector,
            ctypes.byref(mat),
            one,
            ctypes.byref(results),
            ctypes.byref(counts),
        )
        found = int(counts[0])
        self._library.mmdeploy_detector_release_result(results, counts, one)
        return found

    def close(self) -> dict[str, list[float]]:
        """Write the profile out and read it: seconds of each call of each stage, by the stage's name."""
        self._library.mmdeploy_detector_destroy(self._detector)
        self._library.mmdeploy_model_destroy(self._model)
        self._library.mmdeploy_profiler_destroy(self._profiler)
        self._library.mmdeploy_context_destroy(self._context)
        return stages_from_profile(self._profile.read_text())

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise RuntimeError(f"{name} failed with status {status}")


def stages_from_profile(text: str) -> dict[str, list[float]]:
    """The profiler's file: scopes as `name address children…`, a line `----`, events as `address end? call us`."""
    scopes, _, events = text.partition("----\n")
    names = {line.split()[1]: line.split()[0] for line in scopes.splitlines()}
    started: dict[tuple[str, str], int] = {}
    stages: dict[str, list[float]] = defaultdict(list)
    for line in events.splitlines():
        scope, is_end, call, us = line.split()
        if is_end == "0":
            started[scope, call] = int(us)
        else:
            stages[names[scope]].append((int(us) - started.pop((scope, call))) / 1e6)
    return dict(stages)


def _library() -> ctypes.CDLL:
    spec = find_spec("mmdeploy_runtime")
    if spec is None or spec.origin is None:
        raise RuntimeError("mmdeploy_runtime is not installed: run this with .venv/dev/bin/python")
    import mmdeploy_runtime  # noqa: F401  # registers the ONNX Runtime backend

    return ctypes.CDLL(str(Path(spec.origin).parent / "libmmdeploy.so.1"))
