"""Replace this process with a command that ends when its parent does, even when the parent is killed.

    python tether.py PARENT_PID SIGNAL_NUMBER COMMAND [ARGUMENT ...]

Linux alone knows how (`prctl(2)`, PR_SET_PDEATHSIG, which an exec keeps); elsewhere the command just runs.
Standard library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel knew whom to tell
        sys.exit("the process that started this one has ended")
    os.execv(command[0], command)  # noqa: S606 - arguments as a list, no shell


if __name__ == "__main__":
    main()
