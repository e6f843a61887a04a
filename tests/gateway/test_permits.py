"""The limit on requests in work."""

import pytest

from gateway.permits import Permits
from vision.errors import Overloaded


def test_one_more_than_the_limit_is_refused_at_once() -> None:
    """It is told how many there are and when to come back."""
    permits = Permits(2)
    with permits.one(), permits.one():
        with pytest.raises(Overloaded, match="all 2 permits are taken") as caught, permits.one():
            pass
        assert caught.value.retry_after_s > 0
        assert permits.taken == 2


def test_work_that_nobody_waits_for_has_a_permit() -> None:
    """Until it has ended: who asks and hangs up again and again must not bring more into work than there are."""
    left = [1]
    permits = Permits(2, left=lambda: left[0])
    with permits.one():
        assert permits.taken == 2
        with pytest.raises(Overloaded), permits.one():
            pass
        left[0] = 0
        with permits.one():
            assert permits.taken == 2
    assert permits.taken == 0


def test_a_permit_is_given_back_however_the_work_ends() -> None:
    """Also when it fails."""
    permits = Permits(1)
    for _ in range(3):
        with pytest.raises(KeyError), permits.one():
            raise KeyError
    assert permits.taken == 0
