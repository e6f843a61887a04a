"""Records that are not of the same load are not compared."""

from typing import Any

import numpy as np
import pytest

from loadtest.comparable import NotComparable, reasons_against, require_comparable
from loadtest.record import Record
from tests.loadtest.simulated import latencies_of, record_of, stage_of

STAGES = [stage_of(latencies_of(np.random.default_rng(0), 8, 20))]


def changed(**changes: Any) -> Record:
    return record_of(STAGES, "other").model_copy(update=changes)


def conditions(part: str, **values: Any) -> dict[str, Any]:
    found = record_of(STAGES).conditions
    return {**found, part: {**found[part], **values}}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"plan": {**record_of(STAGES).plan, "load": [{"rate_per_s": 80}]}}, "plan.load[0].rate_per_s: 60 and 80"),
        ({"plan": {**record_of(STAGES).plan, "photos": {"folder": "photos", "sha256": "ff"}}}, "plan.photos.sha256"),
        ({"plan": {**record_of(STAGES).plan, "think_s": 1}}, "plan.think_s: nothing and 1"),
        ({"conditions": conditions("generator", cores=8)}, "generator.cores: 2 and 8"),
        ({"conditions": conditions("target", host="http://orin:8080")}, "target.host: localhost and orin"),
        (
            {"conditions": conditions("models", balloon={"model_sha256": "bad"})},
            "models.balloon.model_sha256: c0ffee and bad",
        ),
        ({"conditions": conditions("images", sha256="other")}, "photos.sha256: abc and other"),
        ({"invalid": ["the generator was saturated"]}, "other is invalid: the generator was saturated"),
        ({"finished": False}, "other is invalid: it was not finished"),
        ({"stages": []}, "stages.0: steady and nothing"),
    ],
)
def test_other_loads_machines_models_and_invalid_records_are_refused(other: dict[str, Any], reason: str) -> None:
    """And it is said what is not the same, with both values."""
    with pytest.raises(NotComparable, match="--anyway") as caught:
        require_comparable([record_of(STAGES)], [changed(**other)])
    assert reason in str(caught.value)


def test_what_is_compared_may_differ() -> None:
    """The commit, versions, the server's settings, the port, and what the run was called."""
    plan = {
        **record_of(STAGES).plan,
        "name": "b",
        "host": "http://127.0.0.1:9999",
        "seed": 3,
        "headers": {"X-Key": "a"},
    }
    said = conditions("target", host="localhost:9999") | {"commit": "abc", "server": {"version": "2"}}
    require_comparable([record_of(STAGES)], [changed(plan=plan, conditions=said)])


def test_the_same_photos_may_lie_in_another_folder() -> None:
    """By their SHA-256; of photos that are made the plan says all but how the dice fell."""
    here, there = ({**record_of(STAGES).plan, "images": folder} for folder in ("photos", "/mnt/photos"))
    require_comparable([changed(plan=here)], [changed(plan=there)])
    nothing = {name: value for name, value in record_of(STAGES).conditions.items() if name != "images"}
    unknown = changed(plan=there, conditions=nothing)
    assert "plan.images: photos and /mnt/photos" in str(
        reasons_against([changed(plan=here, conditions=nothing)], [unknown])
    )
    made = [
        changed(plan={**here, "images": text, "seed": seed}, conditions=conditions("images", sha256=digest))
        for text, seed, digest in (("made:64x64x2", 0, "a"), ("made:64x64x2", 1, "b"), ("made:32x32x2", 0, "c"))
    ]
    require_comparable(made[:1], made[1:2])
    assert "plan.images: made:64x64x2 and made:32x32x2" in str(reasons_against(made[:1], made[2:]))


def test_a_run_counts_once() -> None:
    """On both sides, or twice on one, it would be taken for two that agree."""
    one, other = record_of(STAGES), changed()
    assert reasons_against([one], [one]) == ["simulated is given twice"]
    assert reasons_against([one, one, one], [other]) == ["simulated is given twice"]
    assert reasons_against([one], [other]) == []


def test_a_side_without_records_is_refused() -> None:
    """Instead of a comparison with nothing."""
    assert "at least one on each" in reasons_against([], [record_of(STAGES)])[0]
