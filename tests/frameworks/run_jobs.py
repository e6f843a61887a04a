"""Jobs in one process of the frameworks' environment, since importing OpenMMLab takes longer than most of them.

    python run_jobs.py JOB.json JOB.json …

prints a JSON list: null for a job that was done, [step, what it said] for one that was not.
"""

import json
import os
import sys
from pathlib import Path

from builder.frameworks import adaptations
from builder.frameworks.__main__ import KINDS
from builder.frameworks.job import Job, JobError, Telling


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    adaptations.apply()
    ends: list[tuple[str, str] | None] = []
    for path in map(Path, sys.argv[1:]):
        job = Job.from_file(path)
        module = __import__(KINDS[job.kind], fromlist=["export", "infer"])
        try:
            with Path(os.devnull).open("w") as nowhere:
                getattr(module, job.command)(job, Telling(nowhere))
            ends.append(None)
        except JobError as exc:
            ends.append((exc.step, exc.detail))
    json.dump(ends, answers)


if __name__ == "__main__":
    main()
