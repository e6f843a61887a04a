"""Two Tritons behind one gateway: the death of one is nobody's failed request."""

import time
from collections import Counter

import pytest

from tests.docker.asking import FOUND, asked_by, balloons, metrics
from tests.docker.documents import block_of_guide
from tests.docker.engine import Stack
from tests.gateway.serving import eventually

pytestmark = pytest.mark.docker

USERS = 8
BALANCED_S = 10.0
BACK_S = 30.0
LOOK_S = 1.0


@pytest.fixture(scope="module")
def replicas(stack: Stack) -> Stack:
    """The same stack with compose.replicas.yaml, from now on."""
    stack.up("compose.yaml", "compose.replicas.yaml")
    return stack


def test_a_death_costs_nobody_an_answer(replicas: Stack) -> None:
    """8 users, SIGKILL to one of two Tritons, back by its restart policy: no failed request, balance within 10 s."""
    eventually(lambda: sum(metrics(replicas, "gateway_replica_up").values()) == 2, within_s=BACK_S)
    assert balloons(replicas) == FOUND
    before = regions(replicas)
    with asked_by(USERS, replicas) as answers:
        eventually(lambda: is_balanced(replicas), within_s=BALANCED_S)
        restarts = replicas.state("triton", 2)["RestartCount"]
        replicas.crash("triton", 2)
        eventually(lambda: sum(metrics(replicas, "gateway_replica_up").values()) < 2, within_s=BACK_S)
        eventually(lambda: replicas.state("triton", 2)["RestartCount"] > restarts, within_s=BACK_S)
        eventually(lambda: sum(metrics(replicas, "gateway_replica_up").values()) == 2, within_s=BACK_S)
        back = time.monotonic()
        eventually(lambda: is_balanced(replicas), within_s=BALANCED_S)
        print(f"balanced {time.monotonic() - back:.1f} s after it was back; {dict(answers)}")
        asked = answers[200]
        eventually(lambda: answers[200] > asked + 2 * USERS, within_s=BACK_S)
    assert set(answers) == {200}, answers
    assert before & regions(replicas), "the living one's shared memory was cleared up with that of the dead"


def test_replacing_one_after_the_other(replicas: Stack) -> None:
    """The guide's upgrade of two Tritons, under load: both are new containers, and nobody was refused."""
    before = set(replicas.compose("ps", "--quiet", "triton").split())
    with asked_by(USERS, replicas) as answers:
        replicas.shell(block_of_guide("deploy", "--no-recreate"))
        asked = answers[200]
        eventually(lambda: answers[200] > asked + 2 * USERS, within_s=BACK_S)
    after = set(replicas.compose("ps", "--quiet", "triton").split())
    assert len(before) == len(after) == 2
    assert not before & after
    assert set(answers) == {200}, answers


def regions(stack: Stack) -> set[str]:
    """Of both Tritons, in the shared memory they have in common; not the gateway's."""
    names = stack.inside("gateway", "ls", "/dev/shm").split()  # noqa: S108 - in a container
    return {name for name in names if not name.startswith("jetserve_gateway_") and not name.endswith("_lock")}


def is_balanced(stack: Stack) -> bool:
    """Whether, of a second's requests, each of two Tritons had more than a quarter."""
    before = attempts(stack)
    time.sleep(LOOK_S)
    after = attempts(stack) - before
    return len(after) == 2 and min(after.values()) > 0.25 * after.total()


def attempts(stack: Stack) -> Counter[str]:
    """How often each was asked."""
    counted: Counter[str] = Counter()
    for labels, value in metrics(stack, "gateway_replica_requests_total").items():
        counted[next(part for part in labels.split(",") if part.startswith("replica="))] += int(value)
    return counted
