"""Where a served version's time goes, photo by photo, in this process: no server, no network, one photo at a time."""

import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from builder.archive import file_from_path
from builder.publishing.repository import CONFIG, checked_name, served_version
from builder.recipes.photos import MAX_PIXELS
from vision.contract import Contract, contract_from_json
from vision.decode import image_from_bytes
from vision.errors import BuildError, JetserveError
from vision.heads import found_from_outputs
from vision.transforms import Preprocessor

STEP = "profile"
WARM_UP = 5
LOAD, POSTPROCESS = "LoadImageFromFile", "Postprocess"
THREADS = re.compile(rb'key: "threads" value \{ string_value: "(\d+)" \}')

Laps = dict[str, tuple[float, float]]
"""Of one photo: what was done, in order, with its seconds of wall clock and of all cores."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times are of one call, in milliseconds.

    `occupy` is the share of the pipeline's time; `usage` is the time of all cores in it as such a share, above `occupy`
    where several work at once. Both are None for what is made of other rows.
    """

    name: str
    depth: int
    occupy: float | None
    usage: float | None
    n_call: int
    t_mean: float
    t_50: float
    t_90: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A version's rows, and what they depend on."""

    model: str
    version: int
    photo: str
    conditions: dict[str, Any]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Stopwatch:
    """Laps of one photo; each begins where the one before it ended, so that together they are the whole."""

    def __init__(self) -> None:
        self.laps: Laps = {}
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        before = self.laps.get(name, (0.0, 0.0))
        self.laps[name] = (before[0] + wall_s - self._wall_s, before[1] + cpu_s - self._cpu_s)
        self._wall_s, self._cpu_s = wall_s, cpu_s


class Pipeline:
    """A version as the gateway and Triton's Python backend run it, one after the other in this process."""

    def __init__(self, folder: Path, network: str, threads: int) -> None:
        """Open the session with so many threads; 0 is one a core.

        Raises:
            BuildError: a file is missing or broken, or ONNX Runtime cannot run the graph.
        """
        self.network = network
        self.contract = _contract(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # as the backend
        model = file_from_path(folder / "model.onnx")
        try:
            self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._preprocess = Preprocessor(self.contract)
        except JetserveError as exc:
            raise BuildError(STEP, exc.detail) from exc
        except Exception as exc:
            raise BuildError(STEP, f"ONNX Runtime {ort.__version__} cannot load {folder}/model.onnx: {exc}") from exc
        self._names = [output.name for output in self.contract.outputs]

    def __call__(self, photo: Path) -> Laps:
        """The laps of one photo, from its file.

        Raises:
            BuildError: the photo cannot be read, or the network fails on it.
        """
        watch = Stopwatch()
        try:
            image = image_from_bytes(file_from_path(photo), max_pixels=MAX_PIXELS)
            watch.lap(LOAD)
            array, geometry = self._preprocess(image, lap=watch.lap)
            values = self.session.run(self._names, {self.contract.input.name: array[np.newaxis]})
            watch.lap(self.network)
            outputs = {name: np.asarray(value) for name, value in zip(self._names, values, strict=True)}
            found_from_outputs(self.contract, outputs, [geometry])
            watch.lap(POSTPROCESS)
        except JetserveError as exc:
            raise BuildError(STEP, f"{photo}: {exc.detail}") from exc
        except Exception as exc:
            raise BuildError(STEP, f"{photo}: the graph fails on it: {exc}") from exc
        return watch.laps


def profile_of_model(repository: Path, name: str, photo: Path, iterations: int) -> Profile:
    """Profile the version that is served.

    Raises:
        BuildError: no such model, a version that cannot be run here, or a photo that cannot be read.
    """
    model = repository / checked_name(name)
    version = served_version(model)
    if version is None:
        found = sorted(config.parent.name for config in repository.glob(f"[!.]*/{CONFIG}"))
        raise BuildError(STEP, f"{repository} serves no model {name!r}; it has {', '.join(found) or 'none'}")
    threads = _threads(file_from_path(model / CONFIG))
    pipeline = Pipeline(model / str(version), name, threads)
    for _ in range(WARM_UP):
        pipeline(photo)
    laps = [pipeline(photo) for _ in range(iterations)]
    image = image_from_bytes(file_from_path(photo), max_pixels=MAX_PIXELS)
    conditions = {
        "photo_hw": list(image.shape[:2]),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "precision": pipeline.contract.provenance.precision,
        "model_sha256": pipeline.contract.provenance.model_sha256,
        "onnxruntime": ort.__version__,
        "opencv": cv2.__version__,
    }
    return Profile(name, version, photo.name, conditions, tuple(rows_from_laps(laps, name)))


def rows_from_laps(laps: Sequence[Laps], network: str) -> Iterator[Row]:
    """The table: the pipeline, what is done before the network, the network, and what is done after it."""
    wall_s, cpu_s = defaultdict(list), defaultdict(list)
    for photo in laps:
        for name, (wall, cpu) in photo.items():
            wall_s[name].append(wall)
            cpu_s[name].append(cpu)
    before = [name for name in wall_s if name not in (network, POSTPROCESS)]
    whole_s = np.array([sum(wall for wall, _ in photo.values()) for photo in laps])

    def row(name: str, depth: int) -> Row:
        shares = (sum(wall_s[name]) / whole_s.sum(), sum(cpu_s[name]) / whole_s.sum())
        return _row(name, depth, shares, wall_s[name])

    yield _row("pipeline", 0, (None, None), whole_s)
    yield _row("Preprocess", 1, (None, None), [sum(photo[name][0] for name in before) for photo in laps])
    yield from (row(name, 2) for name in before)
    yield row(network, 1)
    yield row(POSTPROCESS, 1)


def _row(name: str, depth: int, shares: tuple[float | None, float | None], seconds: Sequence[float] | Any) -> Row:
    times_ms = np.asarray(seconds) * 1e3
    mean, half, most = (float(value) for value in (times_ms.mean(), *np.percentile(times_ms, (50, 90))))
    return Row(name, depth, *shares, len(times_ms), mean, half, most)


def _contract(folder: Path) -> Contract:
    try:
        return contract_from_json(file_from_path(folder / "contract.json"))
    except BuildError:
        raise
    except JetserveError as exc:
        raise BuildError(STEP, f"{folder}/contract.json: {exc.detail}") from exc


def _threads(config: bytes) -> int:
    """What the model is served with; 0, one a core, where its config is for another backend."""
    found = THREADS.search(config)
    return int(found[1]) if found else 0


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
