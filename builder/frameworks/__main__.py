"""Do one job: `python -m builder.frameworks JOB.json`."""

import importlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from builder.frameworks.job import Job, JobError, Telling

KINDS = {
    "openmmlab": "builder.frameworks.openmmlab.jobs",
    "torchvision": "builder.frameworks.torchvision.jobs",
    "timm": "builder.frameworks.torchvision.jobs",
    "pytorch-ssd": "builder.frameworks.pytorch_ssd.jobs",
}
"""The module of each kind of source: it has `export(job, telling)` and `infer(job, telling)`."""


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":  # mmdeploy writes sets into pipeline.json
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "builder.frameworks", *sys.argv[1:]])  # noqa: S606 - ourselves
    if "JETSERVE_WORKER" in os.environ:
        threading.Thread(target=end_with_builder, daemon=True).start()
    telling = Telling.instead_of_stdout()
    job = Job.from_file(Path(sys.argv[1]))
    try:
        from builder.frameworks import adaptations

        adaptations.apply()
        getattr(importlib.import_module(KINDS[job.kind]), job.command)(job, telling)
    except JobError as exc:
        telling.error(exc.step, exc.detail)
        return 1
    except Exception as exc:  # noqa: BLE001 - the frameworks raise anything; the builder must be told what
        traceback.print_exc()  # standard error is kept in the build's log
        telling.error(job.command, f"{type(exc).__name__}: {exc}")
        return 1
    return 0


def end_with_builder() -> None:
    """The builder keeps this process's standard input open for as long as it lives, and writes nothing there."""
    os.read(0, 1)  # not sys.stdin: its lock, held here, would stop the interpreter from ending
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
