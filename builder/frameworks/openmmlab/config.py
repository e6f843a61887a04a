"""A training configuration, read: mmdet 3, mmpretrain 1, or mmcls 0.x, which is translated."""

import importlib
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from builder.frameworks.job import JobError
from builder.frameworks.openmmlab import mmcls

Codebase = Literal["mmdet", "mmpretrain"]
DETECTOR_HEADS = ("bbox_head", "roi_head", "rpn_head", "panoptic_head")


def config_from_file(path: Path) -> Config:
    """The configuration, in the form of mmdet 3 or mmpretrain 1; a configuration is Python, and is run.

    Raises:
        JobError: it cannot be read, asks for modules that are not installed, or trains no detector or classifier.
    """
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception as exc:  # it is Python: it can raise anything
        raise JobError("export", f"{path.name} cannot be read as a configuration: {type(exc).__name__}: {exc}") from exc
    _import_custom_modules(config, path)
    if not isinstance(config.get("model"), dict):
        raise JobError(
            "export",
            f"{path.name} has no `model = dict(…)`; expected a training configuration of mmdet 3, mmpretrain 1 or "
            f"mmcls 0.x, got one of {', '.join(sorted(config)) or 'nothing'}",
        )
    if mmcls.is_old(config):
        if any(head in config.model for head in DETECTOR_HEADS):
            raise JobError(
                "export",
                f"{path.name} is a configuration of mmdet 2 (`data = dict(…)`); of that age only classifiers (mmcls "
                "0.x) are translated. Write it for mmdet 3: mmdetection's docs/en/migration says how",
            )
        config = mmcls.translated(config)
    config.default_scope = codebase_of(config)
    config.test_pipeline = test_dataset(config).pipeline
    _start_without_weights(config.model)
    return config


def codebase_of(config: Config) -> Codebase:
    """Whose model it is.

    Raises:
        JobError: neither a detector of mmdet nor a classifier of mmpretrain.
    """
    scope = config.get("default_scope") or str(config.model.get("type", "")).rpartition(".")[0]
    if scope == "mmdet" or (not scope and any(head in config.model for head in DETECTOR_HEADS)):
        return "mmdet"
    if scope in ("mmpretrain", "mmcls") or (not scope and "head" in config.model):
        return "mmpretrain"
    raise JobError(
        "export", f"default_scope is {scope!r}; expected a detector of mmdet or a classifier of mmpretrain (or mmcls)"
    )


def test_dataset(config: Config) -> ConfigDict:
    """The data set that the model is tested on, out of its wrappers.

    Raises:
        JobError: there is none with a pipeline.
    """
    dataset = config.get("test_dataloader", {}).get("dataset", {})
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset.dataset
    if "pipeline" not in dataset:
        raise JobError("contract", "the configuration has no test_dataloader.dataset.pipeline, which says what to feed")
    return dataset


def labels_of(
    config: Config, meta: dict[str, Any], given: tuple[str, ...] | None, *, checked: bool = True
) -> tuple[str, ...]:
    """Class names in order of their ids: those given, or as configuration, checkpoint or data set class name them.

    `checked` holds all of them but the data set class's against each other: ids that were trained in another order
    answer with the wrong name, and nothing else shows it.

    Raises:
        JobError: nobody names them, not as many as the network has classes, or two name them otherwise.
    """
    (labels, where), *others = _named(config, meta, given)
    count = number_of_classes(config)
    if count is not None and count != len(labels):
        raise JobError(
            "contract",
            f"the model has num_classes={count}, but {where} {len(labels)} labels ({_shown(labels)}); give a file of "
            f"{count} labels, in the order of the label ids",
        )
    for names, elsewhere in others if checked else ():
        if names != labels:
            pairs = enumerate(zip_longest(labels, names))
            first, (ours, theirs) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
            raise JobError(
                "contract",
                f"{where} {_shown(labels)}, and {elsewhere} {_shown(names)}: label {first} is {ours!r} in one and "
                f"{theirs!r} in the other. Put right the one that is wrong; if that cannot be, say in the recipe "
                "`labels: FILE` (one a line, in the order that was trained) and `labels_checked: false`",
            )
    return labels


def _named(config: Config, meta: dict[str, Any], given: tuple[str, ...] | None) -> list[tuple[tuple[str, ...], str]]:
    """Who names the classes, the first to be followed; the data set's class only where nobody else does."""
    dataset = test_dataset(config)
    saved = {str(key).lower(): value for key, value in (meta.get("dataset_meta") or {}).items()}
    said = (
        (given, "the labels given are"),
        ((dataset.get("metainfo") or {}).get("classes"), "metainfo of the test data set has"),
        (saved.get("classes") or meta.get("CLASSES"), "the checkpoint's own meta has"),
    )
    found = [(_names(names), where) for names, where in said if names]
    if not found and (names := _classes_of_type(config, dataset)):
        found = [(_names(names), f"{dataset.get('type')} itself has")]
    if not found:
        raise JobError(
            "contract",
            "neither the configuration (test_dataloader.dataset.metainfo), the checkpoint nor its data set's class "
            "names the classes; add metainfo=dict(classes=(…,)) or give a file of labels",
        )
    return found


def _names(names: Any) -> tuple[str, ...]:
    return tuple(map(str, [names] if isinstance(names, str) else names))


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")


def _classes_of_type(config: Config, dataset: ConfigDict) -> Any:
    module = importlib.import_module(f"{config.default_scope}.registry")
    importlib.import_module(f"{config.default_scope}.datasets")
    init_default_scope(config.default_scope)
    kind = dataset.get("type")
    found = module.DATASETS.get(kind) if isinstance(kind, str) else kind
    return (getattr(found, "METAINFO", None) or {}).get("classes")


def number_of_classes(config: Config) -> int | None:
    """As the head has it; None for heads that name none."""
    model = config.model
    for head in (model.get("bbox_head"), model.get("roi_head", {}).get("bbox_head"), model.get("head")):
        for part in head if isinstance(head, list) else [head or {}]:
            if "num_classes" in part:
                return int(part.num_classes)
    return None


def _import_custom_modules(config: Config, path: Path) -> None:
    asked = config.get("custom_imports") or {}
    names = asked.get("imports") or []
    folder = str(path.parent)
    if names and folder not in sys.path:
        sys.path.append(folder)  # modules are often kept beside the configuration; a random.py there must hide nothing
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except ImportError as exc:
            if asked.get("allow_failed_imports"):
                continue
            raise JobError(
                "export",
                f"{path.name} has custom_imports of {name!r}, which cannot be imported ({exc}); put the module beside "
                "the configuration or install it into the frameworks' environment",
            ) from exc


def _start_without_weights(part: Any) -> None:
    """Drop `init_cfg` that fetch weights to train from: the checkpoint has them all."""
    if isinstance(part, dict):
        part.pop("pretrained", None)
        if isinstance(init := part.get("init_cfg"), dict) and init.get("type") == "Pretrained":
            part["init_cfg"] = None
        for value in part.values():
            _start_without_weights(value)
    elif isinstance(part, list):
        for value in part:
            _start_without_weights(value)
