"""What is asked when: loads, plans, timetables, arrivals."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from loadtest import timetable
from loadtest.arrivals import due_times
from loadtest.load import Load, Spike, Steps, loads_from_text, named
from loadtest.models import models_from_text
from loadtest.plan import plan_from_values, values_from_file
from loadtest.timetable import Entry, Timetable, share, timetable_from_loads
from vision.errors import InvalidArgument


def test_stages_are_written_in_a_line() -> None:
    """Users are numbers, rates have /s, and times have units."""
    assert loads_from_text("8:30s") == (Load(users=8, seconds=30),)
    assert loads_from_text("20/s:1.5m, 0.5/s:1h") == (
        Load(rate_per_s=20, seconds=90),
        Load(rate_per_s=0.5, seconds=3600),
    )


@pytest.mark.parametrize(
    "text", ["", "8", "8:0s", "0/s:3s", "1.5:3s", "8:3s,5/s:3s", "8:3d", "x:3", "1000000/s:3s", "99999:3s"]
)
def test_stages_that_are_none_are_refused(text: str) -> None:
    """Users and rates do not mix, and nothing is guessed."""
    with pytest.raises(InvalidArgument):
        loads_from_text(text)


def test_steps_rise_to_the_most_and_a_spike_comes_back() -> None:
    """Users rise by at least one a step; the load after a spike is the one before."""
    assert [load.users for load in Steps(of="users", first=1, most=8, factor=1.5).loads()] == [1, 2, 3, 4, 7]
    assert [load.rate_per_s for load in Steps(first=10, most=80, factor=2).loads()] == [10, 20, 40, 80]
    assert [load.rate_per_s for load in Spike(calm=5, spike=50).loads()] == [5, 50, 5]


def test_stages_of_one_load_have_names_of_their_own() -> None:
    """They are told apart in a record."""
    assert [load.name for load in named(loads_from_text("5/s:1s,9/s:1s,5/s:1s"))] == ["5/s", "9/s", "5/s (2)"]


def test_a_plan_is_a_small_file(tmp_path: Path) -> None:
    """TOML with a table a stage; its name is the file's."""
    path = tmp_path / "door.toml"
    path.write_text("models = {balloon = 3}\n[[stages]]\nrate_per_s = 20\nseconds = 5\n[warm_up]\nat_most_s = 0\n")
    plan = plan_from_values(values_from_file(path))
    assert (plan.name, plan.models, plan.is_open, plan.loads()[0].seconds) == ("door", {"balloon": 3}, True, 5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stages": [{"users": 1, "seconds": 1}, {"rate_per_s": 1, "seconds": 1}]}, "closed loop or an open one"),
        ({"stages": [{"seconds": 1}]}, "either users or rate_per_s"),
        ({"stages": [{"users": 1, "seconds": 1}], "spike": {"calm": 1, "spike": 2}}, "one of them"),
        ({"user": 3}, "there is no setting user; a plan has name, host"),
        ({"stages": [{"user": 3, "seconds": 1}]}, "there is no setting stages.0.user"),
        ({"stages": [{"rate_per_s": 1e6, "seconds": 1}]}, "stages.0.rate_per_s: .* 100000, got 1000000.0"),
        ({"stages": [{"users": -1, "seconds": 1}]}, "stages.0.users: .* 1, got -1"),
        ({"steps": {"of": "users", "first": 0.4, "most": 8}}, "first: expected whole users, 1 to 20000, got 0.4"),
        ({"steps": {"first": 9, "most": 8}}, "steps rise: first is 9, and most is 8"),
        ({"spike": {"of": "users", "calm": 1, "spike": 2.5}}, "spike: expected whole users"),
        ({"host": "127.0.0.1:8080"}, "host: expected http://127.0.0.1:8080, got '127.0.0.1:8080'"),
        ({"host": "http://127.0.0.1:99999"}, "host: expected http"),
        ({"host": "grpc://:x", "transport": "grpc"}, "host: expected 127.0.0.1:8001"),
        ({"think_s": float("inf")}, "think_s: "),
        ({"template": "bentoml"}, "go together"),
    ],
)
def test_a_plan_says_what_is_wrong_with_it(values: dict[str, object], said: str) -> None:
    """One line, with the field."""
    with pytest.raises(InvalidArgument, match=said):
        plan_from_values(values)


def test_models_have_weights() -> None:
    """1 where none is given; none may be 0."""
    assert models_from_text("balloon:3, fruit") == {"balloon": 3, "fruit": 1}
    with pytest.raises(InvalidArgument):
        models_from_text("balloon:0")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_constant_arrivals_of_several_processes_make_the_rate(workers: int) -> None:
    """Together they are evenly spaced, whatever their number."""
    times = [itertools.islice(due_times("constant", 5.0, 20, worker, workers, (0,)), 30) for worker in range(workers)]
    assert sorted(itertools.chain(*times)) == pytest.approx(5 + np.arange(30 * workers) / 20)


def test_poisson_arrivals_are_seeded_and_have_the_rate() -> None:
    """The same again with the same seed, others in another process; mean and deviation of gaps are 1/rate."""
    times = np.array(list(itertools.islice(due_times("poisson", 0.0, 100, 1, 2, (7, 0)), 20_000)))
    again = list(itertools.islice(due_times("poisson", 0.0, 100, 1, 2, (7, 0)), 10))
    other = list(itertools.islice(due_times("poisson", 0.0, 100, 0, 2, (7, 0)), 10))
    gaps = np.diff(times)
    assert (again, other) != (other, again)
    assert again == times[:10].tolist()
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.03)


def test_users_are_shared_out() -> None:
    """Every one is somebody's."""
    assert [share(8, worker, 3) for worker in range(3)] == [3, 3, 2]


def test_a_timetable_is_written_and_read(tmp_path: Path) -> None:
    """And says what holds, when it changes, and when it is over."""
    table = Timetable(
        (Entry("warm-up", 2, None, 1.0, 4.0), *timetable_from_loads(loads_from_text("2:3s"), 4.0).entries)
    )
    timetable.write(tmp_path / "table", table)
    assert timetable.read(tmp_path / "table") == table
    assert [table.at(now_s) for now_s in (0.5, 1.0, 4.0, 7.0)] == [None, 0, 1, None]
    assert (table.next_change_s(2.0), table.is_over(6.9), table.is_over(7.0)) == (4.0, False, True)
    assert table.cut(5.0).end_s == 5.0
    assert not Timetable((Entry("warm-up", 1, None, 0.0, None),)).is_over(1e9)
