"""What the comparison says: failures in the order of cause and effect, numbers, and a page that stands alone."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from builder.parity import ParityReport, check_parity, require
from builder.parity.classes import compared
from builder.parity.page import MAX_BYTES
from builder.parity.reference import Reference
from builder.verify import Side
from tests.builder.parity.sides import EXACT, PHOTOS, answers_of, classifier, detector, parity_of, photos, with_contract
from vision.contract import ToRgb
from vision.errors import BuildError

MANY = [path.name for path in PHOTOS]


def swapped() -> ParityReport:
    """RGB for BGR in what is published."""
    source, published = detector()
    return parity_of(source, with_contract(published, in_graph=(ToRgb(), *published.contract.in_graph)))


def test_what_agrees_says_so_in_numbers() -> None:
    """Every image compared, nothing off; the note says that there is nothing raw in a suppressed output."""
    report = parity_of(*detector(), given=photos(*MANY))
    assert report.failures == []
    assert len(report.images) == len(MANY)
    assert report.summary().startswith(f"{len(MANY)} images agree: pixels within 0")
    assert report.notes == ["the network's outputs are boxes already, and are compared as such"]
    require(report)


def test_json_holds_every_number_and_the_versions() -> None:
    """As data: passed or not, tolerances, each image's differences and failures."""
    document = json.loads(swapped().to_json())
    assert document["passed"] is False
    assert document["tolerance"]["pixels"] == 0
    first = document["images"][0]
    assert first["pixels"] > 10
    assert first["failures"][0]["stage"] == "preprocess"
    assert document["model_sha256"] == "1" * 64


def test_the_page_needs_nothing_else_and_shows_both_sides() -> None:
    """No address but the pictures in it; source left, published right, and where the tensors differ."""
    page = parity_of(*classifier(), given=photos(*MANY)).to_html()
    assert len(page) < MAX_BYTES
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg;base64,)", page)
    assert page.count("<figcaption>source") == page.count("<figcaption>published") == len(MANY)
    assert "tensor difference" not in page
    assert "tensor difference: black 0, bright" in swapped().to_html()
    assert "prefers-color-scheme: dark" in page


def test_names_in_the_page_are_text() -> None:
    """A photo named like a tag."""
    source, published = classifier()
    reference = replace(answers_of(source, "tiny.jpg")[0], name="<script>x</script>.jpg")
    page = check_parity(published, [reference], EXACT, precision="fp32").to_html()
    assert "<script>" not in page


def test_a_page_of_many_large_pictures_stays_small() -> None:
    """Pictures shrink, and beyond forty only the table has them all."""
    source, published = classifier()
    [noisy] = answers_of(source, "test-card-palette.png")
    references = [replace(noisy, name=f"{n}.png") for n in range(60)]
    page = check_parity(published, references, EXACT, precision="fp32").to_html()
    assert len(page) < MAX_BYTES
    assert page.count("<article>") == 40
    assert "20 more images are in the table" in page
    assert all(f"{n}.png" in page for n in range(60))


def test_the_earliest_stage_is_told_first() -> None:
    """Pixels that differ explain outputs that differ."""
    source, published = classifier()
    wrong = with_contract(published, in_graph=(ToRgb(), *published.contract.in_graph))
    broken = [
        replace(one, answer=replace(one.answer, probabilities=one.answer.probabilities[::-1].copy()))
        for one in answers_of(source)
        if one.answer.probabilities is not None
    ]
    lines = check_parity(wrong, broken, EXACT, precision="fp32").failures
    assert ": preprocess: " in lines[0]
    assert ": classes: " in lines[-1]


def test_raw_outputs_are_held_against_their_largest_value() -> None:
    """A part of the largest value, by the output's name."""
    source, published = classifier()
    changed = [_with_output(one, 1.001) for one in answers_of(source)]
    report = check_parity(published, changed, EXACT, precision="fp32")
    assert "outputs: 'output' is off by 0.000999 of its largest value" in report.failures[0]


def _with_output(one: Reference, factor: float) -> Reference:
    outputs = {name: value * np.float32(factor) for name, value in one.answer.outputs.items()}
    return replace(one, answer=replace(one.answer, outputs=outputs))


def test_photos_that_the_server_would_refuse_are_failures() -> None:
    """What the source answers and the server does not, is a difference."""
    source, published = classifier()
    [one] = answers_of(source, "tiny.jpg")
    report = check_parity(published, [replace(one, data=b"no picture")], EXACT, precision="fp32")
    assert "decode: the server refuses the photo" in report.failures[0]


def test_a_graph_that_fails_is_a_failure_of_the_outputs() -> None:
    """NaN from the network is no crash of the gate."""
    source, _ = detector()
    _, broken = detector(broken=True)
    report = parity_of(source, broken)
    assert any("outputs: " in line and "NaN" in line for line in report.failures)


def test_no_images_is_an_error() -> None:
    """A gate that compared nothing has not been passed."""
    _, published = classifier()
    with pytest.raises(BuildError, match="there are no images"):
        check_parity(published, [], EXACT, precision="fp32")


def test_near_ties_may_change_places_and_others_may_not() -> None:
    """Classes whose probabilities lie within the tolerance; anything further apart is named."""
    theirs = np.array([0.40, 0.3995, 0.2005], np.float32)
    ours = np.array([0.3995, 0.40, 0.2005], np.float32)
    assert compared(theirs, ours, 2, 0.001).disagreement is None
    told = compared(theirs, ours, 2, 0.0001).disagreement
    assert told == "class 1 is 0 in the source (0.4000) and 1 in the published model (0.4000)"


def test_the_worst_of_what_most_share_comes_first() -> None:
    """`require` names one image, its stage, by how much, and how many differ."""
    with pytest.raises(BuildError) as caught:
        require(swapped())
    assert re.search(r"\.(jpg|png): preprocess: pixels differ by up to \d+", caught.value.detail)
    assert "(3 of 3 images differ). Nothing was published" in caught.value.detail


def test_the_answers_are_those_of_the_encoded_bytes() -> None:
    """A photo turned by its EXIF orientation is compared upright on both sides, and told when the source was not."""
    source, published = classifier()
    [turned] = answers_of(source, "balloons-turned-left.jpg")
    stored = _as_stored(source, turned)
    report = check_parity(published, [stored], EXACT, precision="fp32")
    assert "the EXIF orientation is ignored" in report.failures[0]


def _as_stored(source: Side, turned: Reference) -> Reference:
    import cv2

    from builder.parity.tensors import tensor_from_input
    from builder.verify import Runner

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = np.asarray(cv2.imdecode(np.frombuffer(turned.data, np.uint8), flags), np.uint8)
    tensor = tensor_from_input(source.contract, Runner(source).preprocessor(image)[0])
    return replace(turned, answer=replace(turned.answer, tensor=tensor))
