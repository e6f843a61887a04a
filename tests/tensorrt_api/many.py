"""Jobs of the engine program, one after the other in one process of a device's Python: a start costs most of a second.

    PYTHON many.py JOBS.json ANSWERS.json

Each job may name environment variables of its own, `environment`; each answer has `result` or `error`, and `progress`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from builder.engine import building, describing, libraries, running
from builder.engine.faults import fault_of
from builder.engine.hearing import Hearing
from builder.engine.telling import Telling

DOES = {"describe": lambda found, _: describing.described(found), "build": building.built, "run": running.ran}


class Kept(Telling):
    """Progress in a list."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def progress(self, fraction: float | None, text: str) -> None:
        self.told.append([fraction, text])


def main(jobs: Path, answers: Path) -> None:
    made = []
    for job in json.loads(jobs.read_text()):
        for name in [name for name in os.environ if name.startswith("RECORDED_")]:
            del os.environ[name]
        os.environ.update(job.get("environment", {}))
        kept = Kept()
        hearing = Hearing(kept)
        try:
            answer = {"result": DOES[job["job"]](libraries.imported(hearing), job)}
        except Exception as exc:  # noqa: BLE001 - as the program itself
            fault = fault_of(exc, hearing)
            answer = {"error": {"kind": fault.kind, "detail": fault.detail}}
        made.append({**answer, "progress": kept.told})
    answers.write_text(json.dumps(made))


main(Path(sys.argv[1]), Path(sys.argv[2]))
