"""Work that needs torch or OpenMMLab, done by a process of the frameworks' environment."""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from builder.frameworks.job import Job
from builder.progress import Log
from builder.scratch import scratch_folder
from vision.errors import BuildError

CHECKOUT = Path(__file__).parents[1]
PYTHON = CHECKOUT / ".venv" / "frameworks" / "bin" / "python"
VARIABLE = "JETSERVE_FRAMEWORKS_PYTHON"
MAX_THREADS = 8
"""More gain nothing on one image, and torch by itself takes every core of the host, allotted or not."""
LAST_LINES = 12
MAX_TAIL_BYTES = 16_384
OUR_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 ")

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
        raise BuildError("export", f"{what}; this source needs torch: make setup-frameworks")
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
        with scratch_folder("job") as folder, self._errors() as errors:
            path = folder / "job.json"
            path.write_text(json.dumps(_plain(job)))
            with _process([*command, str(path)], errors) as process:
                failure = _listened(process, on_progress, on_note)
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ends by itself; reaped below
            if failure is not None:
                raise failure
            if process.returncode != 0:
                raise BuildError(job.command, f"{_death(process.returncode)}. Its last lines:\n{_tail(errors)}")

    @contextmanager
    def _errors(self) -> Iterator[IO[bytes]]:
        """A file for the process's standard error, standing where its lines will begin."""
        if self.log is None:
            with tempfile.TemporaryFile() as file:
                yield file
        else:
            with self.log.path.open("ab+") as file:
                file.seek(0, os.SEEK_END)
                yield file


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


@contextmanager
def _process(command: list[str], errors: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The child and all its children, gone when the block ends, however it ends.

    They are a process group of their own, so that Ctrl-C reaches this process alone. The pipe that is the child's
    standard input closes with this process, even if that is killed; the child ends then.
    """
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        errors="replace",
        env=_environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


def _listened(process: subprocess.Popen[str], on_progress: OnProgress, on_note: OnNote) -> BuildError | None:
    """Pass on what the job tells, until it ends; its error, if it told one."""
    failure = None
    for line in process.stdout or ():
        match _told(line):
            case {"progress": [int(done), int(total)], "text": str(text)}:
                on_progress(done, total, text)
            case {"note": str(text)}:
                on_note(text)
            case {"error": str(text), "step": str(step)}:
                failure = BuildError(step, text)
    return failure


def _told(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # a process that was killed leaves half a line
        return None


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the kernel does so when memory runs out" if name == "SIGKILL" else ""
        return f"the frameworks' process was ended by {name}{hint}"
    return f"the frameworks' process ended with exit code {code}, and said no reason"


def _tail(errors: IO[bytes]) -> str:
    """The last lines of what a process wrote."""
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - MAX_TAIL_BYTES))
    written = errors.read().decode(errors="replace").splitlines()
    lines = [line for line in written if not OUR_LINE.match(line)]  # the log holds the builder's own lines too
    return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    (none)"
