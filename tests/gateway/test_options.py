"""What a request may ask for beside the answer."""

import pytest

from clients.options import Options
from gateway.options import SCHEMAS, options_from_parameters, options_from_query
from tests.tiny_models import colour_contract, spot_contract
from vision.errors import InvalidArgument


def test_words_become_numbers() -> None:
    """And what is not asked for is left to the contract."""
    assert options_from_parameters({"score_threshold": "0.25", "top_k": "3"}) == Options(0.25, 3, None)
    assert options_from_parameters({}) == Options()


def test_the_threshold_is_described_as_it_works() -> None:
    """A score that is the threshold is left out, as by the mmdeploy SDK."""
    assert SCHEMAS["score_threshold"]["description"] == "kept are scores above it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", "1.01"),
        ("score_threshold", "-0.1"),
        ("score_threshold", "nan"),
        ("score_threshold", ""),
        ("score_threshold", "high"),
        ("top_k", "0"),
        ("top_k", "2.5"),
        ("max_detections", "-1"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """With what came."""
    with pytest.raises(InvalidArgument, match=f"{name}='{value}': "):
        options_from_parameters({name: value})


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    """Ignored, a misspelt threshold would silently be another."""
    with pytest.raises(
        InvalidArgument, match=r"'treshold'; did you mean score_threshold.*score_threshold, top_k, max_"
    ):
        options_from_parameters({"treshold": "0.5"})


def test_what_a_model_cannot_heed_is_refused() -> None:
    """Each task has its own limit, and the message names it."""
    with pytest.raises(InvalidArgument, match="use max_detections"):
        Options(top_k=1).check(spot_contract())
    with pytest.raises(InvalidArgument, match="use top_k"):
        Options(max_detections=1).check(colour_contract())
    Options(score_threshold=0.5, top_k=1).check(colour_contract())
    Options(score_threshold=0.5, max_detections=1).check(spot_contract())


def test_a_parameter_given_twice_is_refused() -> None:
    """One of the values would be ignored."""
    with pytest.raises(InvalidArgument, match="'score_threshold' is there 2 times"):
        options_from_query([("score_threshold", "0.1"), ("score_threshold", "0.9")])
    assert options_from_query([("score_threshold", "0.1"), ("top_k", "2")]) == Options(0.1, 2)


def test_long_words_are_not_repeated_whole() -> None:
    """A message stays one that can be read and logged."""
    for name, value in (("x" * 5000, "1"), ("score_threshold", "x" * 5000)):
        with pytest.raises(InvalidArgument, match="xxx…'") as caught:
            options_from_parameters({name: value})
        assert len(caught.value.detail) < 350
