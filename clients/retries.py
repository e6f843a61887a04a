"""When a request is sent again, and after what pause."""

import random
from dataclasses import dataclass

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """Up to `count` more attempts, for failures that another attempt may well not meet."""

    count: int

    def pause_s(self, attempt: int, asked_s: float, remaining_s: float) -> float | None:
        """How long to wait after attempt `attempt`, counted from 0; None is to give up.

        Full jitter, so that callers who failed together do not come back together: anything up to a bound that
        doubles from attempt to attempt (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        What the server asked for comes before it. A pause that would outlast the call is not begun.
        """
        if attempt >= self.count:
            return None
        bound_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)
        pause_s = asked_s + random.uniform(0, bound_s)  # noqa: S311 - nothing secret
        return pause_s if pause_s < remaining_s else None
