"""The project, its peers and bare loops in one run: one photo, one model, two cores, one closed loop of users.

    .venv/dev/bin/python -m benchmarks.peers --out benchmarks/results/peers-CONDITIONS.json
    .venv/dev/bin/python -m benchmarks.peers --sides jetserve,bare-2x1,bare-1x2 --rounds 1

Sides take turns, every round anew: start, warm up, one user, eight users, stop. So nobody runs beside another, and a
noisy machine disturbs all. A record is written, and a plot beside it. Needs `make setup-dev`, and for the peers
`make setup-peers`; docs/08-fast-path.md says how each is set.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from benchmarks import record
from benchmarks.peers import window
from benchmarks.peers.model_servers import PEERS
from benchmarks.peers.plot import write_plot
from benchmarks.peers.sides import SIDES, Running
from benchmarks.peers.subject import Subject, subject_in
from benchmarks.peers.window import Counted

USERS = (1, 8)
IN_DEV = ("jetserve", "triton", "bare", "load")
"""What needs no environment of its own."""
PACKAGES = (
    "bentoml",
    "litserve",
    "mosec",
    "tritonclient",
    "fastapi",
    "uvicorn",
    "onnxruntime",
    "opencv-python-headless",
)
Results = dict[str, dict[int, list[Counted]]]
"""By side and users, one a round."""


def main() -> None:
    options = options_from_command_line()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers end with this
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])  # and with it whatever is started here
    results: Results = {side: {users: [] for users in USERS} for side in options.sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject = subject_in(folder)
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", flush=True)
            for side in options.sides:
                for users, counted in turn(side, subject, folder / f"{number}-{side}", options).items():
                    results[side][users].append(counted)
                    said(side, users, counted)
        written(options, subject, results)


def turn(side: str, subject: Subject, folder: Path, options: argparse.Namespace) -> dict[int, Counted]:
    """One side in one round; its answer is held against the model's own first."""
    folder.mkdir()
    with SIDES[side](subject, folder) as running:
        subject.check(side, running.boxes())
        return {users: measured(running, users, subject, folder, options) for users in USERS}


def measured(running: Running, users: int, subject: Subject, folder: Path, options: argparse.Namespace) -> Counted:
    out = folder / f"{users}.json"
    command = [*running.load(users), "--photo", str(subject.photo), "--boxes", str(len(subject.boxes))]
    command += ["--warmup", str(options.warmup), "--seconds", str(options.seconds), "--out", str(out)]
    subprocess.run(command, cwd=record.ROOT, check=True)
    return window.read(out)


def written(options: argparse.Namespace, subject: Subject, results: Results) -> None:
    sides = {
        side: {
            f"{users} users": {
                **sum(rounds[1:], rounds[0]).summary(),
                "requests_per_s_by_round": [each.requests_per_s for each in rounds],
            }
            for users, rounds in each.items()
        }
        for side, each in results.items()
    }
    load = {"loop": "closed", "rounds": options.rounds, "seconds": options.seconds, "warmup_s": options.warmup}
    cores = len(os.sched_getaffinity(0))
    more = {
        "cores_used": cores,
        "settings": {name: value for name, value in os.environ.items() if name.startswith("GATEWAY_")},
        "peers": peer_versions(),
    }
    record.write(options.out, {"load": load, **more, **subject.described(), "sides": sides})
    commit = record.conditions()["commit"]
    title = f"RTMDet-nano 320, photo 413x300, {cores} cores, {options.rounds} rounds of {options.seconds:g} s, {commit}"
    write_plot(options.out.with_suffix(".png"), sides, title)


def peer_versions() -> dict[str, str]:
    """Of what the peers' environment holds; none where it is not there."""
    found = distributions(path=[str(folder) for folder in PEERS.parent.glob("lib/python*/site-packages")])
    return {each.name: each.version for each in sorted(found, key=lambda each: each.name) if each.name in PACKAGES}


def said(side: str, users: int, counted: Counted) -> None:
    ms = " ".join(f"{name} {value:7.2f}" for name, value in counted.ms().items())
    print(f"{side:14} {users} users {counted.requests_per_s:7} /s  {ms}  failures {counted.failures}", flush=True)


def options_from_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=chosen, default=list(SIDES), help=f"of {','.join(SIDES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (%(default)d)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (%(default)g)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds of load before each (%(default)g)")
    parser.add_argument("--cores", type=int, default=2, help="for everybody together, the load too (%(default)d)")
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/peers.json")
    options = parser.parse_args()
    if not (PEERS / "python").exists() and any(not side.startswith(IN_DEV) for side in options.sides):
        parser.error("the peers are not set up: run `make setup-peers`, or choose --sides without them")
    return options


def chosen(text: str) -> list[str]:
    """Names of sides, separated by commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in SIDES]:
        raise argparse.ArgumentTypeError(f"no such side: {', '.join(unknown)}; there are {', '.join(SIDES)}")
    return names


if __name__ == "__main__":
    main()
