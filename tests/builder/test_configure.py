"""`configure`: settings of a published model, which stay."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from builder.publishing.publication import Publication, published
from builder.publishing.repository import publish
from builder.publishing.settings import published_settings, settings_of, with_settings
from builder.publishing.triton_config import Serving, config_text
from builder.verify import Side
from tests.builder.conftest import snapshot
from tests.builder.test_inventory import contract_of, told
from vision.contract import Contract
from vision.serving import ServingSettings

ALL = ("--instances", "2", "--threads", "1", "--preferred-batch", "4,8", "--queue-delay-us", "500")
WANTED = ServingSettings(instances=2, threads=1, preferred_batch=(4, 8), queue_delay_us=500)


def put(repository: Path, graph: bytes = b"graph", max_batch: int = 8, serving: Serving | None = None) -> int:
    """Publish a version, and its number."""
    contract = contract_of(graph).model_copy(update={"max_batch": max_batch})
    return published(Side(graph, contract), Publication(repository, "toy", serving or Serving())).version


def served(repository: Path) -> bytes:
    return (repository / "toy" / "config.pbtxt").read_bytes()


def test_settings_are_in_what_triton_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each where Triton has it, no queue policy, and nothing else is another than before."""
    put(tmp_path)
    before = served(tmp_path)
    told(capsys, "configure", "toy", *ALL, "--repository", tmp_path)
    config = text_format.Parse(served(tmp_path), model_config_pb2.ModelConfig())
    assert config.instance_group[0].count == 2
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert not config.dynamic_batching.HasField("default_queue_policy")
    assert config.parameters["threads"].string_value == "1"
    assert published_settings(served(tmp_path)) == settings_of(served(tmp_path)) == WANTED
    told(capsys, "configure", "toy", "--reset", "--repository", tmp_path)
    assert served(tmp_path) == before


def test_without_options_it_says_what_is_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what the version was published with; nothing is written."""
    put(tmp_path, serving=Serving(threads=3))
    told(capsys, "configure", "toy", "--instances", "2", "--repository", tmp_path)
    before = snapshot(tmp_path)
    out = told(capsys, "configure", "toy", "--repository", tmp_path)
    assert re.search(r"instances\W+1\W+2\W+2\W", out)
    assert re.search(r"threads\W+3\W+3\W", out)
    assert snapshot(tmp_path) == before


def test_settings_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over later versions, and over a rollback; what one version does not take waits for one that does."""
    put(tmp_path)
    told(capsys, "configure", "toy", *ALL, "--repository", tmp_path)
    assert put(tmp_path, b"other") == 2
    assert published_settings(served(tmp_path)) == WANTED
    assert put(tmp_path, b"small", max_batch=4) == 3
    assert published_settings(served(tmp_path)) == WANTED.model_copy(update={"preferred_batch": (4,)})
    assert put(tmp_path, b"smallest", max_batch=2, serving=Serving(preferred_batch=(2,))) == 4
    assert published_settings(served(tmp_path)).preferred_batch == (2,)  # its own
    told(capsys, "rollback", "toy", "--to", "1", "--repository", tmp_path)
    assert published_settings(served(tmp_path)) == settings_of(served(tmp_path)) == WANTED
    assert b"versions: 1 " in served(tmp_path)


def test_settings_make_no_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Publishing the same again publishes nothing, and takes nothing back."""
    put(tmp_path)
    told(capsys, "configure", "toy", *ALL, "--repository", tmp_path)
    before = snapshot(tmp_path)
    assert put(tmp_path) == 1
    assert snapshot(tmp_path) == before


def test_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A later command leaves what it does not name, --reset does not."""
    put(tmp_path)
    for arguments in (("--instances", "2"), ("--threads", "1")):
        told(capsys, "configure", "toy", *arguments, "--repository", tmp_path)
    assert settings_of(served(tmp_path)) == ServingSettings(instances=2, threads=1)
    told(capsys, "configure", "toy", "--reset", "--queue-delay-us", "7", "--repository", tmp_path)
    assert settings_of(served(tmp_path)) == ServingSettings(queue_delay_us=7)


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        (("toy", "--preferred-batch", "4,16"), "takes batches of 1 to 8, but [4, 16] are preferred", 1),
        (("toy", "--preferred-batch", "8,4"), "expected sizes in ascending order", 1),
        (("other", "--instances", "2"), "holds no model 'other'", 1),
        (("other",), "holds no model 'other'", 1),
    ],
)
def test_what_cannot_be_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str, code: int
) -> None:
    """Refused in a line, before anything is written."""
    put(tmp_path)
    before = snapshot(tmp_path)
    assert problem in told(capsys, "configure", *arguments, "--repository", tmp_path, code=code)
    assert snapshot(tmp_path) == before


def test_a_config_of_other_making_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names no single version: not for this builder to change."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "config.pbtxt").write_text('name: "toy"\n')
    assert "another --name" in told(capsys, "configure", "toy", "--instances", "2", "--repository", tmp_path, code=1)


@pytest.mark.parametrize("backend", ["python", "onnxruntime", "tensorrt"])
@pytest.mark.parametrize("max_batch", [1, 8])
def test_what_is_written_is_read(backend: str, max_batch: int) -> None:
    """Of every backend, with and without batches; and settings that fit are there afterwards."""
    serving = Serving(backend, instances=3, preferred_batch=(2, 4), queue_delay_us=9)  # type: ignore[arg-type]
    contract: Contract = contract_of(b"graph").model_copy(update={"max_batch": max_batch})
    config = config_text("toy", 1, contract, serving).encode()
    found = published_settings(config)
    is_batched = backend == "python" or max_batch > 1
    assert found.instances == 3
    assert (found.preferred_batch, found.queue_delay_us) == (((2, 4), 9) if is_batched else (None, None))
    assert found.threads == (None if backend == "tensorrt" else 0)
    again = published_settings(with_settings(config, WANTED))
    assert (again.instances, again.threads) == (2, None if backend == "tensorrt" else 1)
    plain = config_text("toy", 1, contract, replace(serving, preferred_batch=(), queue_delay_us=0))
    assert ("dynamic_batching { }" in plain) == is_batched


def test_a_first_version_has_no_settings(tmp_path: Path) -> None:
    """Nor has one whose predecessor had none."""
    for number in (1, 2):
        publish(
            tmp_path,
            "toy",
            lambda version: {"config.pbtxt": b"version_policy { specific { versions: %d } }\n" % version},
        )
        assert b"serving" not in served(tmp_path), number
