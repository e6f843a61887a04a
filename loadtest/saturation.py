"""When steps have gone as far as the server does."""

from loadtest.record import Stage
from loadtest.slo import Slo

GAIN = 0.03
"""By which a step must raise the rate of answers, or the server is saturated."""
FAILED = 0.05


class Saturation:
    """Is told step after step."""

    def __init__(self, slo: str | None) -> None:
        self._slo = None if slo is None else Slo.parse(slo)
        self._best_per_s = 0.0

    def is_reached(self, stage: Stage) -> bool:
        """Whether this step did not raise the rate any more, failed too often, or broke the SLO."""
        summary = stage.summary
        rose = summary.answered_per_s > self._best_per_s * (1 + GAIN)
        self._best_per_s = max(self._best_per_s, summary.answered_per_s)
        failed = sum(summary.failed.values()) > FAILED * max(1, summary.due)
        return not rose or failed or (self._slo is not None and not self._slo.judge(stage).held)
