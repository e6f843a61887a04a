"""Work that needs torch or OpenMMLab, done by a process of the frameworks' environment."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builder.children import death, errors_of, lines_of, process_group, tail
from builder.frameworks.job import Job
from builder.progress import Log
from builder.scratch import scratch_folder
from vision.errors import BuildError

CHECKOUT = Path(__file__).parents[1]
PYTHON = CHECKOUT / ".venv" / "frameworks" / "bin" / "python"
VARIABLE = "JETSERVE_FRAMEWORKS_PYTHON"
MAX_THREADS = 8
"""More gain nothing on one image, and torch by itself takes every core of the host, allotted or not."""

OnProgress = Callable[[int, int, str], None]
OnNote = Callable[[str], None]


def frameworks_python() -> Path:
    """The interpreter of the frameworks' environment.

    Raises:
        BuildError: there is none.
    """
    named = os.environ.get(VARIABLE)
    python = Path(named) if named else PYTHON
    if not os.access(python, os.X_OK):
        what = f"{VARIABLE} names {python}, which is no program" if named else f"{python} is not there"
        how = "make setup-frameworks, or the builder's image with the frameworks (docs/11-containers.md)"
        raise BuildError("export", f"{what}; this source needs torch: {how}")
    return python


def packaged_file(package: str, file: str) -> Path:
    """The path of a file that an installed package of the frameworks' environment carries.

    Raises:
        BuildError: no such environment or package.
    """
    code = (
        "import importlib.util, sys; found = importlib.util.find_spec(sys.argv[1]); "
        "sys.stdout.write(found.submodule_search_locations[0] if found and found.submodule_search_locations else '')"
    )
    printed, reason = _printed(code, package)
    if not printed:
        why = reason or "no such package"
        raise BuildError(
            "fetch", f"package {package!r} is not in the frameworks' environment ({why}): make setup-frameworks"
        )
    return Path(printed) / file


def frameworks_versions() -> str:
    """Python and every distribution of the frameworks' environment, with their versions, a line each.

    Raises:
        BuildError: no such environment.
    """
    code = (
        "import importlib.metadata as m, sys; "
        "print(sys.version, *sorted({f'{d.name} {d.version}' for d in m.distributions()}), sep='\\n')"
    )
    printed, reason = _printed(code)
    if not printed:
        why = reason or "it says nothing"
        raise BuildError("export", f"{frameworks_python()} cannot say what is installed ({why}): make setup-frameworks")
    return printed


def _printed(code: str, *arguments: str) -> tuple[str, str]:
    """What a line of Python prints there, "" where it fails; and the last line that it complains with."""
    command = [str(frameworks_python()), "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())  # noqa: S603
    return "" if done.returncode else done.stdout, "".join(done.stderr.strip().splitlines()[-1:])


class Worker:
    """Runs jobs, each in a process of its own that ends with the job, or with this one."""

    def __init__(self, log: Log | None = None) -> None:
        """`log` takes the standard error of what is run."""
        self.log = log

    def run(self, job: Job, on_progress: OnProgress, on_note: OnNote) -> None:
        """Do one job.

        Raises:
            BuildError: the environment is not there, the job says what is wrong, or its process died.
        """
        command = [str(frameworks_python()), "-m", "builder.frameworks"]
        job.out.mkdir(parents=True, exist_ok=True)
        with scratch_folder("job") as folder, errors_of(self.log) as errors:
            path = folder / "job.json"
            path.write_text(json.dumps(_plain(job)))
            with process_group([*command, str(path)], errors, _environment()) as process:
                failure = _listened(process, on_progress, on_note)
            if failure is not None:
                raise failure
            if process.returncode != 0:
                how = death("the frameworks' process", process.returncode)
                raise BuildError(job.command, f"{how}. Its last lines:\n{tail(errors)}")


def _plain(job: Job) -> dict[str, Any]:
    def value_of(value: Any) -> Any:
        return (
            str(value) if isinstance(value, Path) else list(map(value_of, value)) if isinstance(value, tuple) else value
        )

    return {key: value_of(value) for key, value in asdict(job).items()}


def _environment() -> Mapping[str, str]:
    threads = str(min(len(os.sched_getaffinity(0)), MAX_THREADS))
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "VIRTUAL_ENV", "PYTHONPATH")}
    return {
        "OMP_NUM_THREADS": threads,
        **kept,
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONHASHSEED": "0",  # mmdeploy writes sets into pipeline.json
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "JETSERVE_WORKER": "1",
    }


def _listened(process: subprocess.Popen[str], on_progress: OnProgress, on_note: OnNote) -> BuildError | None:
    """Pass on what the job tells, until it ends; its error, if it told one."""
    failure = None
    for told in lines_of(process):
        match told:
            case {"progress": [int(done), int(total)], "text": str(text)}:
                on_progress(done, total, text)
            case {"note": str(text)}:
                on_note(text)
            case {"error": str(text), "step": str(step)}:
                failure = BuildError(step, text)
    return failure
