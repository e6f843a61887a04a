"""When a process that ended is started again, on a clock that the test turns."""

from gateway.local.restarts import CALM_S, MOST_ENDS, Ends


class Run:
    """One process, and the time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ends = Ends(lambda: self.now_s)

    def may_go_on(self, after_s: float, ready: bool = True, name: str = "triton") -> bool:
        """Whether it may be started again when it has ended so long after it was ready, or after its start."""
        if ready:
            self.ends.note_ready(name)
        self.now_s += after_s
        return self.ends.note_end(name)


def test_soon_and_in_a_row() -> None:
    """So many ends in a row soon after it was ready are too many."""
    run = Run()
    assert [run.may_go_on(CALM_S - 1) for _ in range(MOST_ENDS)] == [True] * (MOST_ENDS - 1) + [False]


def test_never_ready() -> None:
    """Who ends before it is ready has ended soon, however long it took."""
    run = Run()
    assert [run.may_go_on(10 * CALM_S, ready=False) for _ in range(MOST_ENDS)][-1] is False


def test_calm_between() -> None:
    """After a calm time ends are counted anew, for ever."""
    run = Run()
    for _ in range(4):
        assert [run.may_go_on(1) for _ in range(MOST_ENDS - 1)] == [True] * (MOST_ENDS - 1)
        assert run.may_go_on(CALM_S)


def test_each_its_own() -> None:
    """The ends of one are not the other's, and that the other came back is no news of this one."""
    run = Run()
    run.ends.note_ready("gateway")
    for _ in range(MOST_ENDS - 1):
        assert run.may_go_on(CALM_S / 2)
        run.ends.note_ready("gateway")
    assert run.may_go_on(1, name="gateway")
    run.ends.note_ready("gateway")
    assert not run.may_go_on(1)


def test_ready_since() -> None:
    """How long it was ready counts from when it became so, not from the last time that both were."""
    run = Run()
    assert [run.may_go_on(1) for _ in range(MOST_ENDS - 1)] == [True] * (MOST_ENDS - 1)
    run.ends.note_ready("triton")
    run.now_s += CALM_S / 2
    assert run.may_go_on(CALM_S / 2)
