"""Do one job: `python3 builder/engine JOB.json`, or the job on standard input."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

CHECKOUT = str(Path(__file__).resolve().parents[2])
"""Holds the package `builder`. Looked into only for a moment: another Python's packages may lie there, too."""

if not __package__:  # run by its path, which has put this folder where modules are looked for
    sys.path[0] = CHECKOUT
from builder.engine.faults import JobError, fault_of  # noqa: E402 - found only now
from builder.engine.hearing import Hearing  # noqa: E402
from builder.engine.telling import Telling  # noqa: E402

if not __package__:
    sys.path.remove(CHECKOUT)

JOBS = ("describe", "build", "run")


def main() -> int:
    telling = Telling.instead_of_stdout()
    hearing = Hearing(telling)
    try:
        job = _job()
        if "JETSERVE_WORKER" in os.environ:
            threading.Thread(target=_end_with_builder, daemon=True).start()
        telling.result(_done(job, hearing))
    except Exception as exc:  # noqa: BLE001 - TensorRT and polygraphy raise anything; the builder must be told what
        traceback.print_exc()
        fault = fault_of(exc, hearing)
        telling.error(fault.kind, fault.detail)
        return 1
    return 0


def _job() -> dict[str, Any]:
    text = Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else sys.stdin.read()
    try:
        job = json.loads(text)
    except ValueError as exc:
        raise JobError("bad_input", f"the job is no JSON ({exc}): see builder/engine/__init__.py") from exc
    if not isinstance(job, dict) or job.get("job") not in JOBS:
        raise JobError("bad_input", "a job is one of {}, came {!r}".format(", ".join(JOBS), text[:80]))
    return job


def _done(job: dict[str, Any], hearing: Hearing) -> dict[str, Any]:
    from builder.engine import libraries

    found = libraries.imported(hearing)  # says what to do where something is missing, as an import of these would not
    from builder.engine import building, describing, running

    if job["job"] == "describe":
        return describing.described(found)
    if job["job"] == "build":
        return building.built(found, job)
    return running.ran(found, job)


def _end_with_builder() -> None:
    """The builder keeps this process's standard input open for as long as it lives, and writes nothing there."""
    os.read(0, 1)  # not sys.stdin: its lock, held here, would stop the interpreter from ending
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
