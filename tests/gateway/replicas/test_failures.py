"""Who is asked instead of a Triton that fails."""

from collections import Counter

import pytest

from tests.gateway.replicas.fakes import PHOTO, Frozen, asking, attempts, before, is_up, kill, retries, start, statuses
from tests.gateway.serving import RunningGateway, eventually, samples


def test_what_dies_costs_nothing_but_a_retry(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Requests in flight are sent once more, those that come later go to who is left; back again, it is used again."""
    loop = a._server._loop
    a.hangs = b.hangs = True  # or one would be done with two before a third is sent
    with asking(both, 4) as asked:
        eventually(lambda: (a.running, b.running) == (2, 2), within_s=5)
        kill(a)
        b.hangs = False
        assert statuses(asked()) == {200: 4}
    assert retries(both, "backend_unavailable") == 2
    assert attempts(both, a, "backend_unavailable") == 2
    assert {both.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
    assert retries(both, "backend_unavailable") == 2
    ready = both.http.get("/health/ready")
    assert ready.status_code == 200
    assert list(ready.json()["away"]) == [a.address]
    assert a.address in ready.json()["away"][a.address]
    assert not is_up(both, a)
    assert samples(both)["gateway_triton_reachable",] == 1

    a.hangs = False
    start(a, loop)
    eventually(lambda: is_up(both, a), within_s=5)
    assert "away" not in both.http.get("/health/ready").json()
    received = len(a.received)
    assert {both.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
    assert len(a.received) == received + 2


def test_it_is_known_to_be_away_by_the_first_who_meets_it(a: Frozen, b: Frozen) -> None:
    """The next are not sent there until a look has succeeded: a retry takes time, too."""
    with before(a, b, refresh_s=60) as gateway:
        kill(a)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(8)} == {200}
        assert retries(gateway, "backend_unavailable") == 1


def test_a_full_queue_sends_to_another(
    both: RunningGateway, a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it rests for a while: who refuses at once has always the least in flight. When all are full, 429."""
    monkeypatch.setattr("gateway.replica.REST_S", 60.0)
    a.failure = "queue full"
    assert {both.predict("colour", PHOTO).status_code for _ in range(10)} == {200}
    assert retries(both, "overloaded") == len(a.received) == 1
    b.failure = "queue full"
    response = both.predict("colour", PHOTO)
    assert (response.status_code, response.json()["error"]) == (429, "overloaded")
    a.failure = b.failure = None
    assert both.predict("colour", PHOTO).status_code == 200


def test_what_the_model_makes_of_it_is_not_asked_twice(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """A model that raises would do so elsewhere; nor is a photo that is none sent anywhere."""
    a.failure = b.failure = "model raised"
    assert both.predict("colour", PHOTO).status_code == 502
    assert len(a.received) + len(b.received) == 1
    assert both.predict("colour", b"text").status_code == 422
    assert len(a.received) + len(b.received) == 1
    assert [key for key in samples(both) if key[0] == "gateway_retries_total"] == []


def test_a_replica_that_fails_every_photo_gets_few(
    both: RunningGateway, a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails at once, and would have the least in flight always: most requests would fail."""
    monkeypatch.setattr("gateway.replica.REST_S", 60.0)
    a.failure = "model raised"
    found = Counter(both.predict("colour", PHOTO).status_code for _ in range(20))
    assert found == {200: 19, 502: 1}


def test_a_deadline_is_not_begun_anew(a: Frozen, b: Frozen) -> None:
    """Whoever was too slow has had the time there was."""
    a.hangs = b.hangs = True
    with before(a, b, deadline_s=3.0) as gateway:
        assert gateway.predict("colour", PHOTO).status_code == 504
        assert len(a.received) + len(b.received) == 1
        assert [key for key in samples(gateway) if key[0] == "gateway_retries_total"] == []
