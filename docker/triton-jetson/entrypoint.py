"""What the container starts: a signal ends it from here on, whichever part it is in; the parts are in serving.py."""

import sys
from importlib import import_module

from builder.interrupts import end_like_ctrl_c

INTERRUPTED = 130

if __name__ == "__main__":
    end_like_ctrl_c()  # as process 1 it would otherwise not be ended by SIGTERM at all
    try:
        sys.exit(import_module("serving").main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
