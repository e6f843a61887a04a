"""How a precision is asked of each TensorRT: by the types in the graph where it can, by flags where it must.

From 10 on a network can be strongly typed: it is computed in the types that stand in the ONNX, and flags are not
allowed; from 11 on every network is. Before 10 a graph with FP16 or Q/DQ in it needs the flag, which also lets TensorRT
take that precision elsewhere. A DLA before 11 takes FP16 and INT8 by flag alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from builder.engine.faults import JobError
from builder.engine.libraries import Libraries

STRONG_SINCE, STRONG_ONLY = (10, 0), (11, 0)
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Choice:
    """What is asked of TensorRT, and what the person who builds should know of it."""

    strongly_typed: bool
    fp16: bool
    int8: bool
    notes: tuple[str, ...]


def chosen(libraries: Libraries, job: dict[str, Any]) -> Choice:
    """The choice for a job.

    Raises:
        JobError: bad_input, a precision that cannot be had in that way, or a DLA that is not there.
    """
    wanted, explicit, core = job.get("precision", "fp32"), job.get("explicit", True), job.get("dla_core")
    if wanted not in PRECISIONS:
        raise JobError("bad_input", "precision {!r}: expected one of {}".format(wanted, ", ".join(PRECISIONS)))
    if core is not None:
        _check_dla(libraries, wanted, core)
    if not explicit and wanted == "int8":
        raise JobError("bad_input", "int8 is taken from QuantizeLinear in the ONNX; make one with --precision int8")
    if not explicit and wanted != "fp32" and libraries.release >= STRONG_ONLY:
        raise JobError(
            "bad_input",
            f"TensorRT {libraries.trt.__version__} takes {wanted} from the ONNX alone; make one with"
            f" --precision {wanted}",
        )
    strong = libraries.release >= STRONG_ONLY or (libraries.release >= STRONG_SINCE and explicit and core is None)
    if strong:
        return Choice(True, False, False, ())
    return Choice(False, wanted == "fp16" or core is not None, wanted == "int8", tuple(_notes(libraries, wanted, core)))


def _check_dla(libraries: Libraries, wanted: str, core: int) -> None:
    cores = libraries.trt.Runtime(libraries.logger).num_DLA_cores
    if not 0 <= core < cores:
        what = f"this device has none that TensorRT {libraries.trt.__version__} can use"
        raise JobError(
            "bad_input",
            "DLA core {}: {}; build without it".format(core, f"expected 0 to {cores - 1}" if cores > 0 else what),
        )
    if wanted == "fp32":
        raise JobError("bad_input", "a DLA computes in FP16 or INT8, came fp32; build the ONNX with --precision fp16")


def _notes(libraries: Libraries, wanted: str, core: int | None) -> list[str]:
    notes = []
    if wanted != "fp32" and libraries.release < STRONG_SINCE:
        notes.append(f"TensorRT {libraries.trt.__version__} may take {wanted} also for what the ONNX keeps in FP32")
    if wanted == "int8" and core is not None:
        notes.append("a DLA of this TensorRT takes no Q/DQ: what is quantised runs on the GPU")
    return notes
