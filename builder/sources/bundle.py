"""An mmdeploy SDK bundle: `end2end.onnx`, `deploy.json`, `pipeline.json`, `detail.json`, as mmdeploy 1.x exports it.

A bundle holds no class names, for detectors or classifiers (`mmdeploy/backend/sdk/export_info.py`): they come from a
`labels.txt` in it, which our own exporter writes, or from the person who imports.
"""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from builder.archive import files_from_path
from builder.source import Source, Wishes, labels_from_file, labels_from_text
from builder.sources.pipeline import steps_from_transforms
from vision.contract import ClassifierHead, Head, MmdetHead
from vision.errors import BuildError

JSON_FILES = ("deploy.json", "pipeline.json", "detail.json")
FILES = frozenset({"end2end.onnx", "labels.txt", *JSON_FILES})
EVALUATION_THRESHOLD = 0.05  # at or below it, a detector's threshold is meant for measuring AP, not for looking

Value = TypeVar("Value")
Node = dict[str, Any]


def source_from_bundle(path: Path, wishes: Wishes) -> Source:
    """Read a bundle folder or zip.

    Raises:
        BuildError: a file, field, transform or head that is missing, unknown or not served, by name.
    """
    files = files_from_path(path, FILES)
    if missing := sorted(FILES - {"labels.txt"} - set(files)):
        raise BuildError("read", f"{path} lacks {', '.join(missing)}; an mmdeploy SDK bundle (dump-info) has them")
    documents = {name: _json(files[name], name) for name in JSON_FILES}
    deploy, detail = documents["deploy.json"], documents["detail.json"]
    model = _model(deploy)
    transform, net, post = _tasks(documents["pipeline.json"])
    transforms = _get(transform, "transforms", list, "pipeline.json: Transform task")
    steps, notes = steps_from_transforms(transforms, wishes.resize_library, wishes.resize_interpolation)
    labels = _labels(path, files.get("labels.txt"), wishes)
    head = _head(_task(deploy), post, detail, wishes, len(labels))
    return Source(
        name=f"{path.resolve().name}/end2end.onnx",
        onnx=files["end2end.onnx"],
        task=_task(deploy),
        labels=labels,
        input_name=_get(
            _get(net, "input_map", dict, "pipeline.json: Net task"), "img", str, "pipeline.json: input_map"
        ),
        layout="NCHW",
        preprocess=steps,
        postprocess=head,
        precision=_precision(model),
        tools=_tools(deploy, detail),
        notes=(*notes, *_threshold_note(head, wishes)),
    )


def _json(data: bytes, name: str) -> Node:
    try:
        document = json.loads(data)
    except ValueError as exc:
        raise BuildError("read", f"{name} is not JSON ({exc}); copy the bundle again") from exc
    if not isinstance(document, dict):
        raise BuildError("read", f"{name} holds {type(document).__name__}, expected an object")
    return document


def _get(node: Node, key: str, kind: type[Value], where: str) -> Value:
    value = node.get(key)
    if not isinstance(value, kind):
        came = "nothing" if value is None else repr(value)
        raise BuildError("contract", f"{where}: {key!r} should be {kind.__name__}, and is {came}")
    return value


def _optional(node: Node, key: str) -> Node:
    """An object that a bundle may lack; {} then."""
    value = node.get(key)
    return value if isinstance(value, dict) else {}


def _model(deploy: Node) -> Node:
    version = _get(deploy, "version", str, "deploy.json")
    if not version.startswith("1."):  # 0.x wrote sizes as (h, w), 1.x writes (w, h)
        raise BuildError("contract", f"deploy.json is of mmdeploy {version}, expected 1.x; export the model again")
    models = _get(deploy, "models", list, "deploy.json")
    if len(models) != 1 or not isinstance(models[0], dict):
        raise BuildError("contract", f"deploy.json lists {len(models)} models, expected one end-to-end model")
    model: Node = models[0]
    if model.get("backend") != "onnxruntime" or model.get("net") != "end2end.onnx":
        raise BuildError(
            "contract",
            f"the bundle is for backend {model.get('backend')!r} with net {model.get('net')!r}, expected 'onnxruntime' "
            "with 'end2end.onnx'; export with an onnxruntime deploy config (engines are built on the device)",
        )
    return model


def _task(deploy: Node) -> Literal["detection", "classification"]:
    match deploy.get("task"):
        case "Detector":
            return "detection"
        case "Classifier":
            return "classification"
        case other:
            raise BuildError("contract", f"deploy.json has task {other!r}, expected 'Detector' or 'Classifier'")


def _tasks(pipeline: Node) -> tuple[Node, Node, Node]:
    """The Transform, Net and postprocess tasks."""
    tasks = _get(_get(pipeline, "pipeline", dict, "pipeline.json"), "tasks", list, "pipeline.json: pipeline")
    modules = [task.get("module") if isinstance(task, dict) else None for task in tasks]
    if len(tasks) != 3 or modules[:2] != ["Transform", "Net"] or modules[2] is None:
        raise BuildError(
            "contract", f"pipeline.json runs {modules}, expected Transform, Net and one postprocess module"
        )
    return tasks[0], tasks[1], tasks[2]


def _head(task: str, post: Node, detail: Node, wishes: Wishes, classes: int) -> Head:
    params = _optional(post, "params")
    match task, post.get("module"), post.get("component"):
        case "detection", "mmdet", "ResizeBBox":
            return _mmdet_head(params, detail, wishes)
        case "classification", "mmcls", "LinearClsHead":
            return ClassifierHead(scores="output", activation="none", top_k=_top_k(params, wishes, classes))
        case _, module, component:
            raise BuildError(
                "contract",
                f"pipeline.json ends in {module}/{component} for {task}, which is not served; expected mmdet/"
                "ResizeBBox or mmcls/LinearClsHead (or import the bare ONNX with a recipe)",
            )


def _mmdet_head(params: Node, detail: Node, wishes: Wishes) -> MmdetHead:
    if params.get("min_bbox_size", 0) != 0:
        raise BuildError("contract", f"ResizeBBox has min_bbox_size {params['min_bbox_size']}, expected 0: not served")
    threshold = wishes.score_threshold
    if threshold is None:  # conf_thr first, as ResizeBBox reads them
        threshold = params.get("conf_thr", params.get("score_thr"))
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise BuildError(
            "contract", f"ResizeBBox has score_thr {threshold!r}, expected 0-1; give --score-threshold 0.3"
        )
    return MmdetHead(
        boxes="dets",
        label_ids="labels",
        score_threshold=float(threshold),
        max_detections=_max_detections(params, detail, wishes),
    )


def _max_detections(params: Node, detail: Node, wishes: Wishes) -> int:
    """What was asked for, or what the network was tested with, or what the exporter kept."""
    exported = _optional(_optional(detail, "codebase_config"), "post_processing")
    found = [
        wishes.max_detections,
        params.get("max_per_img"),
        _optional(params, "rcnn").get("max_per_img"),
        exported.get("keep_top_k"),
    ]
    for value in found:
        if isinstance(value, int) and value > 0 and value is not True:
            return value
    raise BuildError("contract", "the bundle does not say how many boxes an image may have; give --max-detections 100")


def _top_k(params: Node, wishes: Wishes, classes: int) -> int:
    """What was asked for, or the training's, of which the SDK takes no more than there are classes."""
    if wishes.top_k is not None:
        return wishes.top_k
    value = params.get("topk")
    if not isinstance(value, int) or value is True or value < 1:
        raise BuildError(
            "contract",
            f"LinearClsHead has topk {value!r}, expected a whole number; give --top-k 5, or serve.top_k in a recipe",
        )
    return min(value, classes)


def _labels(path: Path, data: bytes | None, wishes: Wishes) -> tuple[str, ...]:
    if wishes.labels is not None:
        return labels_from_file(wishes.labels)
    if data is None:
        raise BuildError(
            "contract",
            f"{path} holds no class names, which mmdeploy does not export; give --labels FILE, or put a labels.txt "
            "into the bundle: one name a line, in the order of the training's classes",
        )
    try:
        return labels_from_text(data.decode(), f"{path}: labels.txt")
    except UnicodeDecodeError as exc:
        raise BuildError("contract", f"{path}: labels.txt is not UTF-8 text ({exc})") from exc


def _precision(model: Node) -> Literal["fp32", "fp16", "int8"]:
    match model.get("precision"):
        case "FP32":
            return "fp32"
        case "FP16":
            return "fp16"
        case "INT8":
            return "int8"
        case other:
            raise BuildError("contract", f"deploy.json has precision {other!r}, expected FP32, FP16 or INT8")


def _tools(deploy: Node, detail: Node) -> dict[str, str]:
    codebase = _optional(detail, "codebase")
    tools = {"mmdeploy": str(deploy["version"])}
    if codebase.get("codebase") and codebase.get("version"):
        tools[str(codebase["codebase"])] = str(codebase["version"])
    return tools


def _threshold_note(head: Head, wishes: Wishes) -> tuple[str, ...]:
    if isinstance(head, MmdetHead) and wishes.score_threshold is None and head.score_threshold <= EVALUATION_THRESHOLD:
        return (
            f"score_threshold {head.score_threshold:g} is the bundle's own, meant for measuring AP: nearly every box "
            "is served unless the caller asks otherwise; --score-threshold 0.3 settles a better one",
        )
    return ()
