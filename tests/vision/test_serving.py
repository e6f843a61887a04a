"""Settings of how a server runs a model: what can be said, and what a model takes."""

from typing import Any

import pytest

from vision.errors import InvalidArgument
from vision.serving import ServingSettings, batch_sizes

PYTHON = {"contract": "", "threads": "", "providers": ""}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"instances": 0}, "instances: .*greater than or equal to 1, got 0"),
        ({"instances": 65}, "instances: .*less than or equal to 64, got 65"),
        ({"instances": "2"}, "instances: .*valid integer, got '2'"),
        ({"threads": -1}, "threads: "),
        ({"queue_delay_us": 1_000_001}, "queue_delay_us: "),
        ({"preferred_batch": (8, 4)}, "preferred_batch: .*ascending"),
        ({"preferred_batch": (4, 4)}, "preferred_batch: .*each once"),
        ({"preferred_batch": (0,)}, "preferred_batch.0: "),
        ({"queue_policy": 1}, "queue_policy: .*not permitted"),
    ],
)
def test_what_cannot_be_is_named(given: dict[str, Any], problem: str) -> None:
    """With what came; a queue policy is not among the settings (decision 6)."""
    with pytest.raises(InvalidArgument, match=problem):
        ServingSettings.of(**given)


def test_json_and_back() -> None:
    """Only what is set; nothing and an empty tuple are two things."""
    settings = ServingSettings(instances=2, preferred_batch=())
    assert settings.to_json() == '{"instances":2,"preferred_batch":[]}'
    assert ServingSettings.from_json(settings.to_json()) == settings
    assert ServingSettings.from_json("{}").is_empty


def test_the_newer_count_for_more() -> None:
    """What they leave open stays."""
    before = ServingSettings(instances=2, threads=1, preferred_batch=(4,))
    assert ServingSettings(instances=3, preferred_batch=()).set_over(before) == ServingSettings(
        instances=3, threads=1, preferred_batch=()
    )


@pytest.mark.parametrize(
    ("settings", "parameters", "max_batch", "problem"),
    [
        (ServingSettings(threads=1), {"contract": ""}, 8, "runs on a GPU"),
        (ServingSettings(preferred_batch=(4,)), PYTHON, 0, "not batched by Triton"),
        (ServingSettings(queue_delay_us=5), PYTHON, 0, "not batched by Triton"),
        (ServingSettings(preferred_batch=()), PYTHON, 0, "not batched by Triton"),
        (ServingSettings(preferred_batch=(4, 16)), PYTHON, 8, r"batches of 1 to 8, but \[4, 16\]"),
        (ServingSettings(preferred_batch=(16,)), PYTHON, 8, r"batches of 1 to 8, but \[16\]"),
    ],
)
def test_what_a_model_does_not_take(
    settings: ServingSettings, parameters: dict[str, str], max_batch: int, problem: str
) -> None:
    """Refused with the reason; what is left of them fits."""
    with pytest.raises(InvalidArgument, match=problem):
        settings.check("toy", parameters, max_batch)
    settings.fitting(parameters, max_batch).check("toy", parameters, max_batch)


def test_what_a_model_takes() -> None:
    """Everything of a Python model with batches; instances of any."""
    ServingSettings(instances=2, threads=0, preferred_batch=(4, 8), queue_delay_us=500).check("toy", PYTHON, 8)
    ServingSettings(instances=2).check("toy", {}, 0)


def test_sizes_on_a_command_line() -> None:
    """Commas between them."""
    assert batch_sizes("4,8") == (4, 8)
    assert batch_sizes("none") == ()
