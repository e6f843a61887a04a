from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.calibration import Calibration, calibration_from_photos, without
from builder.graphs.int8 import with_int8
from builder.graphs.layers import dtypes
from builder.graphs.precision import with_int8 as checked_int8
from builder.graphs.quantisation import best_threshold
from builder.lint.check import lint
from builder.lint.shape_rules import Profile
from tests.builder.convolutions import FLOAT, build, classifier, photos
from tests.tiny_models import SIDE, colour_contract
from vision.errors import BuildError


def scores(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(None, feed)[0]) for feed in feeds])


def quantised(model: onnx.ModelProto) -> set[str]:
    """The layers that read an activation behind Q and DQ, and a weight in int8."""
    makers = {name: node for node in model.graph.node for name in node.output}
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose"):
            continue
        data, weight = (makers.get(name) for name in node.input[:2])
        if weight is not None and weight.op_type == "DequantizeLinear":
            assert data is not None
            assert data.op_type == "DequantizeLinear"
            assert makers[data.input[0]].op_type == "QuantizeLinear"
            assert kinds[weight.input[0]] == TensorProto.INT8
            found.add(node.name)
    return found


def test_layers_in_the_middle_are_quantised() -> None:
    """Not the first, nor depthwise ones; a classifier's product is. Outside nothing changes, and answers hardly."""
    model, feeds = classifier(), photos(32)
    made = with_int8(model, feeds)
    onnx.checker.check_model(made.model, full_check=True)
    assert quantised(made.model) == {"pointwise", "last"}
    assert (made.layers, made.kept) == (2, ("first", "depthwise"))
    known = dtypes(made.model)
    assert (known["input"], known["scores"]) == (TensorProto.UINT8, FLOAT)
    unseen = photos(16, seed=2)
    np.testing.assert_allclose(scores(made.model, unseen), scores(model, unseen), atol=0.02)
    assert lint(made.model, "8.6", Profile(8), "int8") == []


def test_weights_have_a_scale_a_channel() -> None:
    """A channel of small weights keeps as many digits as one of large ones."""
    made = with_int8(classifier(), photos(4)).model
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    dequantise = next(node for node in made.graph.node if node.input[0] == "w4/int8")
    stored, scale, zero = (arrays[name] for name in dequantise.input)
    assert stored.dtype == np.int8
    assert scale.shape == (stored.shape[0],)
    assert not zero.any()
    assert (np.abs(stored).max(axis=1) == 127).all()
    original = numpy_helper.to_array(next(t for t in classifier().graph.initializer if t.name == "w4"))
    assert (np.abs(stored * scale[:, None] - original) <= scale[:, None] / 2 + 1e-7).all()


def test_older_opsets_are_raised() -> None:
    """A scale a channel needs opset 13."""
    model, feeds = classifier(opset=11), photos(4)
    made = with_int8(model, feeds)
    assert made.model.opset_import[0].version == 13
    np.testing.assert_allclose(scores(made.model, feeds), scores(model, feeds), atol=0.05)


def test_the_last_convolutions_stay_float() -> None:
    """They make a detector's scores and boxes; an expectation over bins is no layer at all."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="middle"),
        helper.make_node("Conv", ["b", "w"], ["bins"], name="last"),
        helper.make_node("Softmax", ["bins"], ["shares"], name="softmax", axis=1),
        helper.make_node("Conv", ["shares", "expect"], ["output"], name="expectation"),
    ]
    constants = {
        "w": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "expect": np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1),
    }
    model = build(nodes, {"input": (FLOAT, [1, 4, 3, 3])}, {"output": (FLOAT, [1, 1, 3, 3])}, constants)
    made = with_int8(model, [{"input": random.normal(size=(1, 4, 3, 3)).astype(np.float32)}])
    assert quantised(made.model) == {"middle"}


@pytest.mark.parametrize("group", [1, 2])
def test_other_layers_have_their_channels_elsewhere(group: int) -> None:
    """Transposed convolutions and products: the axis of the output channels, or one scale for all."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], name="first"),
        helper.make_node("ConvTranspose", ["a", "t"], ["b"], name="transposed", group=group),
        helper.make_node("Transpose", ["b"], ["c"], name="turn", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["c", "m"], ["output"], name="product"),
    ]
    constants = {
        "w": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "t": random.normal(size=(4, 6, 1, 1)).astype(np.float32),
        "m": random.normal(size=(6 * group, 2)).astype(np.float32),
    }
    model = build(nodes, {"input": (FLOAT, [1, 4, 3, 3])}, {"output": (FLOAT, [1, 3, 3, 2])}, constants)
    feeds = [{"input": random.normal(size=(1, 4, 3, 3)).astype(np.float32)} for _ in range(4)]
    made = with_int8(model, feeds)
    onnx.checker.check_model(made.model, full_check=True)
    assert quantised(made.model) == {"transposed", "product"}
    scales = {tensor.name: tensor.dims for tensor in made.model.graph.initializer}
    assert list(scales["t/scale"]) == ([6] if group == 1 else [])  # groups share the columns of their weights
    wanted = scores(model, feeds)
    np.testing.assert_allclose(scores(made.model, feeds), wanted, atol=0.05 * np.abs(wanted).max())


def test_it_is_the_same_every_time() -> None:
    """Byte for byte, from the same photos."""
    once, again = (with_int8(classifier(), photos(4)).model.SerializeToString(deterministic=True) for _ in range(2))
    assert once == again


def test_one_pass_or_many() -> None:
    """Feeds that can be gone through once only are kept; each is told once."""
    told: list[int] = []
    once = with_int8(classifier(), iter(photos(4)), on_feed=lambda: told.append(1)).model
    assert once.SerializeToString(deterministic=True) == with_int8(classifier(), photos(4)).model.SerializeToString(
        deterministic=True
    )
    assert len(told) == 4


def test_no_photos_no_int8() -> None:
    """Scales from nothing would be guesses."""
    with pytest.raises(BuildError, match="--calibration FOLDER"):
        checked_int8(classifier(), [])
    with pytest.raises(BuildError, match="--calibration FOLDER"):
        Calibration([], colour_contract())


def test_black_photos_ruin_the_answers() -> None:
    """Calibration on nothing is no calibration: the answers differ by what parity's gate must see."""
    black = [{"input": np.zeros_like(photos(1)[0]["input"])}] * 4
    made, unseen = with_int8(classifier(), black).model, photos(16, seed=2)
    assert np.abs(scores(made, unseen) - scores(classifier(), unseen)).max() > 0.05


def test_outliers_are_clipped_where_it_pays() -> None:
    """A few values far out are given up for the many; without outliers nothing is."""
    counts = np.zeros(4096, np.int64)
    counts[:400] = 10_000
    assert best_threshold(counts, 10.0) == pytest.approx(10.0 * 400 / 4096, rel=0.2)
    counts[-1] = 1
    assert best_threshold(counts, 10.0) < 2.5
    assert best_threshold(np.full(4096, 100), 10.0) == pytest.approx(10.0)
    assert best_threshold(np.zeros(4096, np.int64), 0.0) > 0


def test_calibration_is_fed_as_served(tmp_path: Path) -> None:
    """Through the contract's own steps; of many photos, a seeded few."""
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 50, 3), 40 * number, np.uint8))
    contract, there = colour_contract(), sorted(tmp_path.iterdir())
    all_of_them = calibration_from_photos(there, contract)
    feeds = list(all_of_them)
    assert len(all_of_them) == len(feeds) == 6
    assert {feed["input"].shape for feed in feeds} == {(1, SIDE, SIDE, 3)}
    assert sorted(int(feed["input"][0, 0, 0, 0]) for feed in feeds) == [0, 40, 80, 120, 160, 200]
    some = calibration_from_photos(there, contract, limit=3, seed=7)
    assert some.photos == calibration_from_photos(there, contract, limit=3, seed=7).photos
    assert len(some) == 3
    assert all_of_them.sample(3).photos == calibration_from_photos(there, contract, limit=3).photos
    assert all_of_them.sample(6) is all_of_them


def test_evaluated_photos_are_left_out_by_their_bytes(tmp_path: Path) -> None:
    """A copy under another name is the same photo; one of the same size with other bytes is not."""
    for name, data in {"a": b"one", "b": b"two", "c": b"three", "copy of a": b"one"}.items():
        (tmp_path / name).write_bytes(data)
    kept = without([tmp_path / name for name in "abc"], [tmp_path / "copy of a"])
    assert [path.name for path in kept] == ["b", "c"]


def test_doubtful_calibration_is_pointed_out(tmp_path: Path) -> None:
    """Too few, all alike, or blank."""
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 50, 3), 90, np.uint8))
    notes = Calibration(sorted(tmp_path.iterdir()), colour_contract()).notes()
    assert [word in note for word, note in zip(("2 photos only", "alike", "blank"), notes, strict=True)] == [True] * 3
    random = np.random.default_rng(0)
    for number in range(16):
        image = cv2.resize(random.integers(0, 256, (3, 3, 3), np.uint8), (60, 60))
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    assert Calibration(sorted(tmp_path.iterdir()), colour_contract()).notes() == ()


def test_noise_is_no_photo(tmp_path: Path) -> None:
    """Where neighbouring pixels have nothing in common, it is said."""
    random = np.random.default_rng(0)
    for number in range(16):
        cv2.imwrite(str(tmp_path / f"{number}.png"), random.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    [note] = Calibration(sorted(tmp_path.iterdir()), colour_contract()).notes()
    assert "noise" in note


def test_without_a_photo_no_precision_is_named() -> None:
    """fp16 is measured on photos as well: the message is for both."""
    with pytest.raises(BuildError, match=r"no photo to measure .* --calibration FOLDER") as caught:
        Calibration([], colour_contract())
    assert "int8" not in str(caught.value)


def test_broken_photos_are_named(tmp_path: Path) -> None:
    """With what to do about them."""
    (tmp_path / "broken.jpg").write_bytes(b"no JPEG")
    with pytest.raises(BuildError, match=r"broken\.jpg.*take it out"):
        list(Calibration([tmp_path / "broken.jpg"], colour_contract()))
