"""When a server is warm: its median latency stays the same."""

import numpy as np

from loadtest.plan import WarmUp
from loadtest.samples import OK, Samples


def is_warm(warm_up: WarmUp, samples: Samples, now_s: float) -> bool:
    """Whether the last windows before `now_s`, each by when requests ended, have about the same median latency.

    A window without an answer is no window: a server that says nothing is not warm.
    """
    answered = samples.rows[samples.are(OK)]
    medians = []
    for number in range(warm_up.windows):
        end_s = now_s - number * warm_up.window_s
        ended = answered["ended_s"]
        within = answered[(ended >= end_s - warm_up.window_s) & (ended < end_s)]
        if not len(within):
            return False
        medians.append(float(np.median(within["ended_s"] - within["due_s"])))
    return max(medians) <= min(medians) * (1 + warm_up.tolerance)
