"""Models small enough to write down, published as the builder would, for tests of a real Triton."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from vision.contract import (
    ClassifierHead,
    Contract,
    Input,
    MmdetHead,
    Output,
    Provenance,
    ResizeStretch,
)

MODEL_PY = Path(__file__).parents[1] / "builder" / "backends" / "onnxruntime" / "model.py"
SIDE = 32
OPSET, IR_VERSION = 13, 8
POLICY = (
    "default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 30000000"
    " allow_timeout_override: true max_queue_size: 256 }"
)
"""Not what models have by default: any policy makes Triton pause now and then (docs/04-triton.md)."""
PROVENANCE = Provenance(
    source="tests", source_sha256="0" * 64, model_sha256="0" * 64, precision="fp32", created="2026-01-01", tools={}
)
SQUARE = Input(name="input", dtype="UINT8", layout="NHWC", shape=(SIDE, SIDE, 3))
RESIZE = ResizeStretch(size_hw=(SIDE, SIDE), interpolation="bilinear", library="opencv")


def colour_contract(max_batch: int = 8) -> Contract:
    """A classifier: the mean of each channel, 0 to 1, is the score of blue, green and red."""
    return Contract(
        schema_version=1,
        task="classification",
        labels=("blue", "green", "red"),
        max_batch=max_batch,
        input=SQUARE,
        outputs=(Output(name="scores", dtype="FP32", shape=(3,)),),
        preprocess=(RESIZE,),
        in_graph=(),
        postprocess=ClassifierHead(scores="scores", activation="none", top_k=3),
        provenance=PROVENANCE,
    )


def colour_graph(batch: int | str = "batch", side: int | None = SIDE) -> onnx.ModelProto:
    """The colour model; `side` None takes any size."""
    return model_from_nodes(
        [
            helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["scores"]),
        ],
        {"input": (TensorProto.UINT8, [batch, side or "height", side or "width", 3])},
        {"scores": (TensorProto.FLOAT, [batch, 3])},
        [helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])],
    )


def spot_contract(max_batch: int = 8) -> Contract:
    """A detector: each bright pixel (blue above 127) of the top row, in any image of the batch, is a box.

    Pixel i is the box (i, 0, i + 1, 1) of score (i + 1) / SIDE and label 0; a dark row is no box at all.
    """
    return Contract(
        schema_version=1,
        task="detection",
        labels=("spot",),
        max_batch=max_batch,
        input=SQUARE,
        outputs=(
            Output(name="dets", dtype="FP32", shape=(-1, 5)),
            Output(name="labels", dtype="INT64", shape=(-1,)),
        ),
        preprocess=(RESIZE,),
        in_graph=(),
        postprocess=MmdetHead(boxes="dets", label_ids="labels", score_threshold=0.0, max_detections=100),
        provenance=PROVENANCE,
    )


def spot_graph() -> onnx.ModelProto:
    table = [value for i in range(SIDE) for value in (i, 0.0, i + 1, 1.0, (i + 1) / SIDE)]
    nodes = [
        helper.make_node("Slice", ["input", "zeros4", "ends4"], ["row"]),  # [batch, 1, SIDE, 1]
        helper.make_node("Cast", ["row"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["values"], ["brightest"], axes=[0, 1, 3], keepdims=0),
        helper.make_node("Greater", ["brightest", "half"], ["bright"]),
        helper.make_node("NonZero", ["bright"], ["index"]),  # [1, k]
        helper.make_node("Gather", ["table", "index"], ["boxes"]),  # [1, k, 5]
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero1", "one1"], ["batch"]),
        helper.make_node("Concat", ["batch", "ones2"], ["as_boxes"], axis=0),
        helper.make_node("Expand", ["boxes", "as_boxes"], ["dets"]),
        helper.make_node("Mul", ["index", "zero"], ["no_labels"]),
        helper.make_node("Concat", ["batch", "one1"], ["as_labels"], axis=0),
        helper.make_node("Expand", ["no_labels", "as_labels"], ["labels"]),
    ]
    constants = [
        helper.make_tensor("zeros4", TensorProto.INT64, [4], [0, 0, 0, 0]),
        helper.make_tensor("ends4", TensorProto.INT64, [4], [10**6, 1, SIDE, 1]),
        helper.make_tensor("zero1", TensorProto.INT64, [1], [0]),
        helper.make_tensor("one1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("ones2", TensorProto.INT64, [2], [1, 1]),
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [127.0]),
        helper.make_tensor("table", TensorProto.FLOAT, [SIDE, 5], table),
    ]
    return model_from_nodes(
        nodes,
        {"input": (TensorProto.UINT8, ["batch", SIDE, SIDE, 3])},
        {"dets": (TensorProto.FLOAT, ["batch", "n", 5]), "labels": (TensorProto.INT64, ["batch", "n"])},
        constants,
    )


def write_model(
    repository: Path,
    name: str,
    contract: Contract,
    graph: onnx.ModelProto | None = None,
    *,
    script: str | None = None,
    version: int = 1,
    parameters: Mapping[str, str] | None = None,
    policy: str = "",
    queue_delay_us: int = 0,
    ragged: bool = False,
    embedded_contract: str | None = None,
) -> Path:
    """Publish a model; its folder comes back.

    `script` replaces the project's `model.py`, `parameters` add to or replace those of `config.pbtxt`, `ragged` lets
    Triton put requests of different sizes together, and `embedded_contract` stands where the contract's JSON would
    ("" is none at all).
    """
    folder = repository / name
    place = folder / str(version)
    place.mkdir(parents=True, exist_ok=True)
    if graph is not None:
        onnx.save(graph, str(place / "model.onnx"))
    if script is None:
        shutil.copy2(MODEL_PY, place / "model.py")
    else:
        (place / "model.py").write_text(script)
    text = contract.to_json() if embedded_contract is None else embedded_contract
    settings = {"threads": "1", "providers": "CPUExecutionProvider"} | ({"contract": text} if text else {})
    config = [
        f'name: "{name}"  backend: "python"  max_batch_size: {contract.max_batch}',
        _tensor("input", contract.input.name, contract.input.dtype, contract.input.shape, ragged),
        *(_tensor("output", output.name, output.dtype, output.shape) for output in contract.outputs),
        f"dynamic_batching {{ max_queue_delay_microseconds: {queue_delay_us} {policy} }}",
        "instance_group { kind: KIND_CPU count: 1 }",
        f"version_policy {{ specific {{ versions: [{version}] }} }}",
        *(_parameter(key, value) for key, value in (settings | dict(parameters or {})).items()),
    ]
    (folder / "config.pbtxt").write_text("\n".join(config) + "\n")
    return folder


def _tensor(kind: str, name: str, dtype: str, shape: tuple[int, ...], ragged: bool = False) -> str:
    more = " allow_ragged_batch: true" if ragged else ""
    return f'{kind} {{ name: "{name}" data_type: TYPE_{dtype} dims: {list(shape)}{more} }}'


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value, ensure_ascii=False)} }} }}'


def model_from_nodes(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, list[int | str]]],
    outputs: Mapping[str, tuple[int, list[int | str]]],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    takes, gives = (
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in tensors.items()]
        for tensors in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "tiny", takes, gives, initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
