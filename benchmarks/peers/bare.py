"""The ceiling: decode, resize, network and boxes in a loop, with no server at all.

    python -m benchmarks.peers.bare --model FILE --photo FILE --boxes 3 --threads 1 --users 2 --out counted.json

Each user is a process with a session of its own, of `--threads` threads.
"""

import argparse
import functools
import multiprocessing
import operator
import threading
import time
from pathlib import Path

from benchmarks.peers import load
from benchmarks.peers.network import Detector
from benchmarks.peers.window import Counted, Window
from gateway.memory import keep_freed_memory

READY_S = 60.0


def loop(options: argparse.Namespace, ready: threading.Barrier, _: int) -> Counted:
    """One user's answers; one with another number of boxes than `options.boxes` is a failure."""
    keep_freed_memory()
    detector, photo = Detector(str(options.model), options.threads), options.photo.read_bytes()
    ready.wait(READY_S)
    window = Window(options.warmup, options.seconds)
    while not window.is_over():
        asked_s = time.perf_counter()
        if len(detector([photo])[0]) == options.boxes:
            window.answered(asked_s)
        else:
            window.failed()
    return window.counted


def loops(options: argparse.Namespace) -> Counted:
    """Those of all users, side by side."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(options.users) as pool:
        one = functools.partial(loop, options, manager.Barrier(options.users))
        return functools.reduce(operator.or_, pool.map(one, range(options.users), chunksize=1))


def main() -> None:
    parser = load.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    loops(options).write(options.out)


if __name__ == "__main__":
    main()
