"""TensorRT and polygraphy, where this Python has them."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from typing import Any

from builder.engine.faults import JobError
from builder.engine.hearing import Hearing, logger_for

OLDEST, POLYGRAPHY = (8, 4), (0, 53)
INSTALL = (
    "on a Jetson: sudo apt install python3-libnvinfer python3-venv, then /usr/bin/python3 -m venv"
    " --system-site-packages .venv/device && .venv/device/bin/pip install --require-hashes --no-deps"
    " -r requirements/device.txt"
)


@dataclass(frozen=True)
class Libraries:
    """The modules of this process, and TensorRT's version as numbers: (10, 3, 0)."""

    trt: Any
    backend: Any
    cuda: Any
    polygraphy: str
    polygraphy_error: type[Exception]
    release: tuple[int, ...]
    logger: Any
    hearing: Hearing


def imported(hearing: Hearing) -> Libraries:
    """Import what a job needs.

    Raises:
        JobError: no_tensorrt, naming the module that is missing, too old or broken, and how to install it.
    """
    _imported("numpy")
    trt = _imported("tensorrt")
    release = release_of(trt.__version__)
    if release < OLDEST:
        raise JobError("no_tensorrt", f"expected TensorRT 8.4 or later, came {trt.__version__}")
    polygraphy = _imported("polygraphy")
    if release_of(polygraphy.__version__) < POLYGRAPHY:
        raise JobError("no_tensorrt", f"expected polygraphy 0.53 or later, came {polygraphy.__version__}; {INSTALL}")
    _imported("polygraphy.logger").G_LOGGER.colors = False
    backend, util = _imported("polygraphy.backend.trt"), _imported("polygraphy.backend.trt.util")
    util.TRT_LOGGER = logger = logger_for(trt, hearing)  # the one that polygraphy gives to all it makes
    cuda, error = _imported("polygraphy.cuda"), _imported("polygraphy.exception").PolygraphyException
    return Libraries(trt, backend, cuda, polygraphy.__version__, error, release, logger, hearing)


def release_of(version: str) -> tuple[int, ...]:
    """The numbers of a version: (10, 14, 1, 48) of "10.14.1.48.post1"."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0].split(".post")[0]))


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as exc:  # a module that is not there, or one whose libraries are not
        raise JobError("no_tensorrt", f"{sys.executable} cannot import {name} ({exc}); {INSTALL}") from exc
