import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from builder.publishing.served_config import config_from_bytes
from builder.publishing.triton_config import Accelerator, Backend, Serving, config_text, quoted
from vision.contract import Contract, contract_from_json

CONTRACT = {
    "schema_version": 1,
    "task": "detection",
    "labels": ['a "quoted" one', "back\\slash", "Löwe 獅子 🎈", "line\nbreak\ttab", "</script>"],
    "max_batch": 4,
    "input": {"name": "input", "dtype": "UINT8", "layout": "NHWC", "shape": (32, 48, 3)},
    "outputs": (
        {"name": "dets", "dtype": "FP32", "shape": (-1, 5)},
        {"name": "labels", "dtype": "INT64", "shape": (-1,)},
    ),
    "preprocess": (),
    "in_graph": ({"op": "normalise", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},),
    "postprocess": {
        "head": "mmdet",
        "boxes": "dets",
        "label_ids": "labels",
        "score_threshold": 0.3,
        "max_detections": 100,
    },
    "provenance": {
        "source": "x",
        "source_sha256": "0",
        "model_sha256": "0",
        "precision": "fp32",
        "created": "2026",
        "tools": {},
    },
}


def contract(**changes: object) -> Contract:
    return Contract.model_validate({**CONTRACT, "labels": tuple(CONTRACT["labels"]), **changes})  # type: ignore[arg-type]


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_triton_reads_what_was_written() -> None:
    """Names, types, sizes, batching without a queue policy and the one version, through Triton's own message."""
    config = parsed(config_text("toy", 7, contract(), Serving(instances=2, threads=3)))
    assert (config.name, config.backend, config.max_batch_size) == ("toy", "python", 4)
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
        ("input", model_config_pb2.TYPE_UINT8, [32, 48, 3])
    ]
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
        ("dets", model_config_pb2.TYPE_FP32, [-1, 5]),
        ("labels", model_config_pb2.TYPE_INT64, [-1]),
    ]
    assert (config.instance_group[0].count, config.instance_group[0].kind) == (
        2,
        model_config_pb2.ModelInstanceGroup.KIND_CPU,
    )
    assert list(config.version_policy.specific.versions) == [7]
    assert config.HasField("dynamic_batching")
    assert not config.dynamic_batching.HasField("default_queue_policy")  # stalls half a second: docs/04-triton.md
    assert config.parameters["threads"].string_value == "3"
    assert config.parameters["providers"].string_value == "CPUExecutionProvider"


def test_the_contract_survives_whatever_its_labels_hold() -> None:
    """Quotes, backslashes, line breaks and any script come back as they went in."""
    config = parsed(config_text("toy", 1, contract(), Serving()))
    assert contract_from_json(config.parameters["contract"].string_value) == contract()


@pytest.mark.parametrize("text", ["", '"', "\\", "\\n", "\n", "a\x00b", "é", "獅", "\u2028", "%s{}", "'"])
def test_quoted_text_is_read_back(text: str) -> None:
    """Any string, on one line, in ASCII."""
    written = quoted(text)
    assert written.isascii()
    assert "\n" not in written
    assert parsed(f"name: {written}").name == text


@pytest.mark.parametrize(("max_batch", "declared", "dims"), [(1, 0, [1, 32, 48, 3]), (4, 4, [32, 48, 3])])
def test_tritons_own_backend_gets_its_batch_dimension(max_batch: int, declared: int, dims: list[int]) -> None:
    """Triton's ONNX Runtime backend refuses max_batch_size 1 on a graph of fixed batch: there the batch is in dims."""
    serving = Serving(backend="onnxruntime", threads=2)
    config = parsed(config_text("toy", 1, contract(max_batch=max_batch), serving))
    assert (config.platform, config.backend, config.max_batch_size) == ("onnxruntime_onnx", "", declared)
    assert list(config.input[0].dims) == dims
    assert config.HasField("dynamic_batching") == (max_batch > 1)
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


@pytest.mark.parametrize(("max_batch", "declared"), [(1, 0), (4, 4)])
def test_an_engine_is_served_on_the_gpu(max_batch: int, declared: int) -> None:
    """As `tensorrt_plan`, from model.plan, in batches up to what its profile was built for."""
    config = parsed(config_text("toy", 3, contract(max_batch=max_batch), Serving(backend="tensorrt")))
    assert (config.platform, config.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert config.max_batch_size == declared
    assert config.HasField("dynamic_batching") == (max_batch > 1)
    assert set(config.parameters) == {"contract"}


@pytest.mark.parametrize(("accelerator", "names"), [("none", []), ("cuda", []), ("tensorrt", ["tensorrt"])])
def test_onnx_runtimes_accelerator_is_named(accelerator: Accelerator, names: list[str]) -> None:
    """Its TensorRT must be asked for; its CUDA comes with an instance on a GPU."""
    config = parsed(config_text("toy", 1, contract(), Serving(backend="onnxruntime", accelerator=accelerator)))
    found = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [entry.name for entry in found] == names
    kind = model_config_pb2.ModelInstanceGroup
    assert config.instance_group[0].kind == (kind.KIND_CPU if accelerator == "none" else kind.KIND_GPU)


@pytest.mark.parametrize("backend", ["python", "onnxruntime", "tensorrt"])
@pytest.mark.parametrize("accelerator", ["none", "cuda", "tensorrt"])
def test_what_is_written_is_read_again(backend: Backend, accelerator: Accelerator) -> None:
    """By the builder itself: the backend and the contract of a version come from its config."""
    text = config_text("toy", 1, contract(), Serving(backend=backend, accelerator=accelerator))
    found = config_from_bytes(text.encode())
    assert found is not None
    assert (found.name, found.backend, contract_from_json(found.contract)) == ("toy", backend, contract())
