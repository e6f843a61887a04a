"""What an ONNX graph says of itself, held against what its source says of it."""

import math
from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from builder.source import Source
from vision.contract import ClassifierHead, Contract, Input, MmdetHead, Output, Provenance, SsdHead, YoloHead
from vision.errors import BuildError
from vision.heads import yolo

STEP = "check"
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})  # what ONNX Runtime itself carries
DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.UINT8: "UINT8",
}
ANY = -1
DEFAULT_MAX_BATCH = 8
OLDEST_OPSET = 7  # of ONNX Runtime; operators broadcast as they do today from here on


def model_from_bytes(data: bytes, name: str) -> onnx.ModelProto:
    """A graph that is whole, valid and made of standard operators.

    Raises:
        BuildError: not ONNX or cut off, weights kept in other files, custom operators (by name), an invalid graph.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as exc:
        raise BuildError(STEP, f"{name} is not a whole ONNX file ({exc}); copy or export it again") from exc
    if not model.graph.node or not model.graph.output:
        raise BuildError(STEP, f"{name} holds no graph; expected an ONNX model. Export it again")
    if outside := [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]:
        raise BuildError(STEP, f"{name} keeps {len(outside)} weights in another file; save it as one ONNX file")
    own = {function.domain for function in model.functions}
    custom = {
        f"{node.domain}::{node.op_type}" for node in nodes(model.graph) if node.domain not in STANDARD_DOMAINS | own
    }
    if custom:
        raise BuildError(
            STEP,
            f"{name} needs custom operators: {', '.join(sorted(custom))}; export with standard operators "
            "(mmdeploy: an onnxruntime deploy config)",
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as exc:
        raise BuildError(STEP, f"{name} is not a valid graph: {str(exc).splitlines()[0]}") from exc
    if opset(model) < OLDEST_OPSET:
        raise BuildError(STEP, f"{name} is of opset {opset(model)}, expected {OLDEST_OPSET} or later; export it again")
    return model


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators; 0 where the graph uses none."""
    return max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of subgraphs (If, Loop, Scan) included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from nodes(subgraph)


def contract_from_graph(
    model: onnx.ModelProto, source: Source, provenance: Provenance, max_batch: int | None
) -> Contract:
    """The contract of the network as it came, nothing folded. `max_batch` None takes what the graph allows.

    Raises:
        BuildError: a tensor whose name, dtype or shape is not what the source says, or a fixed batch.
        pydantic.ValidationError: what the source says contradicts itself.
    """
    entry = _input(model, source)
    return Contract(
        schema_version=1,
        task=source.task,
        labels=source.labels,
        max_batch=_max_batch(model, source.input_name, max_batch),
        input=entry,
        outputs=_outputs(model, source),
        decode=source.decode,
        preprocess=source.preprocess,
        in_graph=(),
        postprocess=source.postprocess,
        provenance=provenance,
    )


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What the graph is fed: its inputs without those that are weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """All sides, the batch among them; -1 is any size."""
    if not value.type.tensor_type.HasField("shape"):
        raise BuildError(STEP, f"{value.name!r} has no shape; export it with shapes (onnx.shape_inference)")
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else ANY for d in value.type.tensor_type.shape.dim
    )


def _dtype(value: onnx.ValueInfoProto) -> str:
    number = value.type.tensor_type.elem_type
    return DTYPES.get(number) or TensorProto.DataType.Name(TensorProto.DataType.ValueType(number))


def _input(model: onnx.ModelProto, source: Source) -> Input:
    values = {value.name: value for value in inputs(model)}
    if set(values) != {source.input_name}:
        raise BuildError(STEP, f"the graph takes {sorted(values)}, expected the one input {source.input_name!r}")
    value = values[source.input_name]
    dtype, shape = _dtype(value), shape_of(value)
    channels = 3 if source.layout == "NHWC" else 1
    if len(shape) != 4 or shape[channels] not in (3, ANY):
        order = "[batch, height, width, 3]" if source.layout == "NHWC" else "[batch, 3, height, width]"
        raise BuildError(STEP, f"input {value.name!r} is {list(shape)}, expected {order}")
    if dtype not in ("FP32", "UINT8"):
        raise BuildError(STEP, f"input {value.name!r} is {dtype}, expected FP32 or UINT8; export with FP32 inputs")
    height, width = (shape[1], shape[2]) if source.layout == "NHWC" else (shape[2], shape[3])
    without_batch = (height, width, 3) if source.layout == "NHWC" else (3, height, width)
    return Input(
        name=value.name, dtype="FP32" if dtype == "FP32" else "UINT8", layout=source.layout, shape=without_batch
    )


def _max_batch(model: onnx.ModelProto, input_name: str, wanted: int | None) -> int:
    fixed = next(shape_of(value)[0] for value in inputs(model) if value.name == input_name)
    if fixed == ANY:
        return wanted or DEFAULT_MAX_BATCH
    if fixed != 1 or (wanted or 1) != 1:
        raise BuildError(
            STEP,
            f"the graph takes batches of {fixed} only, expected any size for a largest batch of {wanted or 1}; "
            "export with a dynamic batch, or with batch 1, and say --max-batch 1, or serve.max_batch: 1 in a recipe",
        )
    return 1


def _outputs(model: onnx.ModelProto, source: Source) -> tuple[Output, ...]:
    """The outputs the head reads, in its order; others are not served."""
    head, labels = source.postprocess, len(source.labels)
    match head:
        case MmdetHead():
            boxes = _output(model, head.boxes, ("FP32",), rank=3)
            ids = _output(model, head.label_ids, ("INT64", "INT32"), rank=2)
            return (_narrowed(boxes, (None, 5), "x1 y1 x2 y2 score"), ids)
        case SsdHead():
            scores = _output(model, head.scores, ("FP32",), rank=3)
            boxes = _output(model, head.boxes, ("FP32",), rank=3)
            return (
                _narrowed(scores, (None, 1 + labels), f"the background and {labels} labels"),
                _narrowed(boxes, (None, 4), "x1 y1 x2 y2"),
            )
        case YoloHead():
            predictions = _output(model, head.predictions, ("FP32",), rank=3)
            shape = yolo.predictions_shape(head, labels)
            return (_narrowed(predictions, shape, f"layout {head.layout} with {labels} labels"),)
        case ClassifierHead():
            scores = _output(model, head.scores, ("FP32",), rank=2)
            _check_classes(head, scores, source.labels)
            return (scores.model_copy(update={"shape": (labels,)}),)


def _narrowed(output: Output, expected: tuple[int | None, ...], why: str) -> Output:
    """The output with those sides filled in that must have one size."""
    pairs = list(zip(output.shape, expected, strict=True))
    if any(side not in (wanted, ANY) for side, wanted in pairs if wanted is not None):
        shape = ["any" if side is None else side for side in expected]
        raise BuildError(STEP, f"output {output.name!r} is {list(output.shape)}, expected {shape}: {why}")
    return output.model_copy(update={"shape": tuple(side if wanted is None else wanted for side, wanted in pairs)})


def _output(model: onnx.ModelProto, name: str, dtypes: tuple[str, ...], rank: int) -> Output:
    values = {value.name: value for value in model.graph.output}
    if name not in values:
        raise BuildError(STEP, f"the graph gives {sorted(values)}, expected an output {name!r}")
    dtype, shape = _dtype(values[name]), shape_of(values[name])
    if dtype not in dtypes:
        raise BuildError(STEP, f"output {name!r} is {dtype}, expected {' or '.join(dtypes)}")
    if len(shape) != rank:
        raise BuildError(STEP, f"output {name!r} is {list(shape)}, expected {rank} dimensions, the batch first")
    return Output.model_validate({"name": name, "dtype": dtype, "shape": shape[1:]})


def _check_classes(head: ClassifierHead, scores: Output, labels: tuple[str, ...]) -> None:
    width = math.prod(scores.shape)
    if width not in (len(labels), ANY):
        raise BuildError(STEP, f"output {head.scores!r} has {width} classes, and there are {len(labels)} labels")
    if head.top_k > len(labels):
        raise BuildError(
            STEP, f"top_k is {head.top_k}, and there are {len(labels)} labels; give --top-k, or serve.top_k in a recipe"
        )
