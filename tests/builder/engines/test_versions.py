"""The engine program and polygraphy under it, against every recorded TensorRT."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.builder.engines import graphs
from tests.builder.engines.devices import Answer, Bench
from tests.builder.engines.jobs import GRAPHS, WORKSPACE, feed

STRONG_SINCE, STRONG_ONLY, NAMES_SINCE = (10, 0), (11, 0), (10, 0)


def result(bench: Bench, name: str) -> Answer:
    answer = bench[name]
    assert "result" in answer, answer
    fields: Answer = answer["result"]
    return fields


def refused(bench: Bench, name: str, kind: str, *parts: str) -> None:
    answer = bench[name]
    assert "error" in answer, answer
    assert answer["error"]["kind"] == kind, answer
    for part in parts:
        assert part in answer["error"]["detail"]


def reference(name: str) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(GRAPHS[name], providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {graphs.ENTRY: feed()})[0], np.float32)


def test_a_device_is_described(bench: Bench) -> None:
    """Versions, GPU, compute capability and memory, as they say themselves."""
    fields = result(bench, "describe")
    assert fields["tensorrt"] == bench.version
    assert (fields["gpu"], fields["compute_capability"], fields["cuda"]) == ("Orin", "8.7", "12.6")
    assert (fields["dla_cores"], fields["free_bytes"], fields["total_bytes"]) == (0, 4 << 30, 8 << 30)


def test_without_a_gpu_it_says_so(bench: Bench) -> None:
    """With CUDA's own words, and what to do."""
    refused(bench, "no-gpu", "no_gpu", "no CUDA-capable device", "--runtime nvidia")


@pytest.mark.parametrize("name", ["plain", "half", "quantised"])
def test_what_was_built_answers_as_its_graph(bench: Bench, name: str) -> None:
    """Built with a profile, run twice in one process: each feed its outputs, by name, in their dtype."""
    built = result(bench, name)
    assert built["engine_bytes"] == bench.path(f"{name}.plan").stat().st_size
    assert built["inputs"] == [{"name": "input", "dtype": "float32", "shape": [-1, 3, 4, 4]}]
    assert built["outputs"] == [{"name": "output", "dtype": "float32", "shape": [-1, 2, 4, 4]}]
    assert built["tensorrt"] == bench.version
    assert bench.header(name)["shapes"]["input"] == [[1, 3, 4, 4], [2, 3, 4, 4], [8, 3, 4, 4]]
    timed = result(bench, f"run-{name}")["milliseconds"]
    assert len(timed) == (2 if name == "plain" else 0)
    for number in range(2):
        with np.load(bench.path(f"run-{name}-outputs") / f"{number:05}.npz") as file:
            np.testing.assert_array_equal(file["tensor:output"], reference(name))


def test_precision_is_the_graphs_where_it_can_be(bench: Bench) -> None:
    """Strongly typed and without flags from 10 on; before, the flag that the types in the graph need, and no other."""
    for name, flag in (("plain", None), ("half", "FP16"), ("quantised", "INT8")):
        result(bench, name)
        header = bench.header(name)
        expected = [] if flag is None or bench.release >= STRONG_SINCE else [flag]
        assert [found for found in header["flags"] if found in ("FP16", "INT8")] == expected
        assert header["strongly_typed"] == (bench.release >= STRONG_SINCE)
        assert "TF32" not in header["flags"]
        may_be_elsewhere = bench.release < STRONG_SINCE and flag is not None
        assert bool(result(bench, name)["notes"]) == may_be_elsewhere
        assert not [found for found in header["flags"] if "COMPATIBLE" in found]


def test_precision_by_flag_ends_with_11(bench: Bench) -> None:
    """A plain graph can be asked to run in FP16 for as long as TensorRT has the flag; INT8 needs its scales."""
    if bench.release >= STRONG_ONLY:
        refused(bench, "weak", "bad_input", "from the ONNX alone", "--precision fp16")
    else:
        result(bench, "weak")
        header = bench.header("weak")
        assert "FP16" in header["flags"]
        assert not header["strongly_typed"]
    refused(bench, "int8-by-flag", "bad_input", "QuantizeLinear")


def test_the_workspace_has_its_limit(bench: Bench) -> None:
    """As asked for; TensorRT's own where nothing was."""
    result(bench, "plain")
    assert bench.header("plain")["pools"] == {"WORKSPACE": WORKSPACE}
    result(bench, "half")
    assert bench.header("half")["pools"] == {}


def test_one_shape_needs_no_profile(bench: Bench) -> None:
    result(bench, "fixed")
    assert result(bench, "fixed")["inputs"][0]["shape"] == [2, 3, 4, 4]


def test_uint8_comes_with_8_5(bench: Bench) -> None:
    if bench.release < (8, 5):
        refused(bench, "bytes", "unsupported_operator", "8.4")
    else:
        assert result(bench, "bytes")["inputs"][0]["dtype"] == "uint8"


def test_timings_are_kept(bench: Bench) -> None:
    """A new cache, one that cannot be read, one of another version: afterwards there is one, and nothing beside it."""
    for name in ("new", "garbage", "foreign"):
        notes = result(bench, f"{name}-cache")["notes"]
        assert [note for note in notes if "begins anew" in note] == (notes if name == "foreign" else [])
        assert bench.path(f"{name}.cache").read_bytes() == f"timings {bench.version}".encode()
    assert not list(bench.folder.glob(".*"))
    assert not list(bench.folder.glob("*.lock"))


def test_an_engine_is_not_lost_with_its_timings(bench: Bench) -> None:
    """After an hour's build: no room or no folder for the cache is a note."""
    assert [note for note in result(bench, "nowhere-cache")["notes"] if "cannot be written" in note]
    assert bench.path("nowhere-cache.plan").stat().st_size == result(bench, "nowhere-cache")["engine_bytes"]


def test_progress_grows(bench: Bench) -> None:
    """From reading to building, in fractions that never shrink."""
    result(bench, "half")
    told = bench["half"]["progress"]
    fractions = [fraction for fraction, _ in told if fraction is not None]
    assert told[0] == [0.0, "reading half.onnx"]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 3
    assert fractions[-1] <= 1


def test_a_dla_takes_what_it_can(bench: Bench) -> None:
    """The core that was asked for, the GPU for the rest, and the flags that this TensorRT wants for it."""
    built = result(bench, "dla")
    header = bench.header("dla")
    assert (header["device"], header["dla_core"]) == ("DLA", 1)
    assert "GPU_FALLBACK" in header["flags"]
    assert ("FP16" in header["flags"]) == (bench.release < STRONG_ONLY)
    assert (built["dla_layers"], built["layers"]) == (1, 3)
    assert result(bench, "plain")["dla_layers"] is None
    quantised, flags = result(bench, "dla-int8"), bench.header("dla-int8")["flags"]
    assert [flag for flag in flags if flag in ("FP16", "INT8")] == (
        [] if bench.release >= STRONG_ONLY else ["FP16", "INT8"]
    )
    assert any("runs on the GPU" in note for note in quantised["notes"]) == (bench.release < STRONG_ONLY)


def test_a_dla_must_be_there_and_computes_no_fp32(bench: Bench) -> None:
    refused(bench, "no-dla", "bad_input", "DLA core 1", "build without it")
    refused(bench, "fp32-dla", "bad_input", "--precision fp16")
    refused(bench, "wide-dla", "bad_input", "one shape alone")


def test_a_node_that_is_refused_is_named(bench: Bench) -> None:
    """By its name from 10 on, by its operator before."""
    refused(bench, "custom", "unsupported_operator", bench.version, "TRTBatchedNMS")
    if bench.release >= NAMES_SINCE:
        refused(bench, "custom", "unsupported_operator", "suppress (TRTBatchedNMS)")
    assert not bench.path("custom.plan").exists()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("missing", "no such file"),
        ("not", "reads no ONNX"),
        ("no-profile", "needs a profile"),
        ("wrong-name", "profile of image"),
        ("wrong-range", "in that order"),
    ],
)
def test_what_does_not_fit_is_refused(bench: Bench, name: str, part: str) -> None:
    refused(bench, name, "bad_input", part)
    assert not bench.path(f"{name}.plan").exists()


def test_a_lack_of_memory_is_told_from_other_failures(bench: Bench) -> None:
    """While building and while running, with what to do."""
    refused(bench, "memory", "out_of_memory", "OutOfMemory", "workspace")
    refused(bench, "run-full", "out_of_memory", "stop what else")


def test_feeds_are_checked(bench: Bench) -> None:
    """Name, dtype, and a batch outside the profile."""
    refused(bench, "run-other", "bad_input", "expected inputs input, came image")
    refused(bench, "run-double", "bad_input", "float32", "float64")
    refused(bench, "run-wide", "bad_input", "(9, 3, 4, 4)")


def test_an_engine_of_another_device_is_told(bench: Bench) -> None:
    """With TensorRT's own words, and that it must be built here."""
    refused(bench, "run-elsewhere", "version_mismatch", "incompatible device", "compute 8.7", "build it here")
    refused(bench, "run-garbage", "version_mismatch", "build it here")
