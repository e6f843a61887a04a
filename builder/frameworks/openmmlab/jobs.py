"""Jobs on models of mmdet 3, mmpretrain 1 and mmcls 0.x; the settings are `builder.sources.openmmlab`."""

import importlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from builder.frameworks.job import Job, JobError, Telling
from builder.frameworks.openmmlab import bundle, deploy
from builder.frameworks.openmmlab.inference import inference_of
from builder.frameworks.openmmlab.model import Trained, trained_from_job
from builder.frameworks.openmmlab.steps import has_fixed_size, steps_of

TOP_K = 5
TOOLS = ("torch", "mmengine", "mmdeploy", "mmcv-lite", "numpy", "opencv-python-headless")
TRACED_HW = (480, 640)
"""Of the picture that is traced where the job brings no photo."""


def export(job: Job, telling: Telling) -> None:
    """Write `model.onnx`, `source.json`, and in `sdk/` the bundle of mmdeploy's SDK."""
    with tempfile.TemporaryDirectory(dir=job.out) as folder:  # the builder's, who deletes it if this is killed
        scratch = Path(folder)
        trained = trained_from_job(job, scratch)
        steps = steps_of(trained.config)
        settings, head = _deployed(trained, job)
        if trained.codebase == "mmdet":
            importlib.import_module("builder.frameworks.openmmlab.rtmdet")
            if steps[-1]["op"] == "pad_to_divisor":
                telling.note(
                    "mmdet clips boxes before the data preprocessor pads, the graph after: boxes that reach into that "
                    "padding may be suppressed otherwise"
                )
        if not has_fixed_size(steps):
            settings = deploy.with_any_size(settings)
            telling.note(
                "the test pipeline leaves the network's size to the photo: only photos of one size share a batch"
            )
        photo = job.photos[0] if job.photos else _noise(scratch / "noise.png")
        checkpoint = job.checkpoint.name if job.checkpoint else f"random weights, seed {job.seed}"
        bundle.write_bundle(trained, settings, photo, job.out / "sdk", checkpoint)
    if not bundle.sdk_can(trained.config):
        telling.note("mmdeploy's SDK lacks a transform of the test pipeline: sdk/ holds no pipeline.json")
    (job.out / "model.onnx").unlink(missing_ok=True)
    os.link(job.out / "sdk" / bundle.ONNX, job.out / "model.onnx")
    tools = (*TOOLS, trained.codebase)
    source = {
        "name": _name(trained),
        "task": "detection" if trained.codebase == "mmdet" else "classification",
        "labels": list(trained.labels),
        "input_name": "input",
        "layout": "NCHW",
        "preprocess": steps,
        "postprocess": head,
        "precision": "fp32",
        "tools": {tool: version(tool) for tool in tools},
        "notes": [],
    }
    (job.out / "source.json").write_text(json.dumps(source, indent=1))


def infer(job: Job, telling: Telling) -> None:
    """Write an answer for each photo."""
    with tempfile.TemporaryDirectory(dir=job.out) as scratch:
        answer_of = inference_of(trained_from_job(job, Path(scratch)), job.score_floor)
        for number, photo in enumerate(job.photos):
            telling.progress(number, len(job.photos), photo.name)
            answer_of(photo).save(job.out / f"{number:05}.npz")
        telling.progress(len(job.photos), len(job.photos))


def _deployed(trained: Trained, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """How to export, and the contract's head that reads the outputs."""
    if trained.codebase == "mmpretrain":
        head = {"head": "classifier", "scores": "output", "activation": "none"}  # the softmax is in the graph
        return deploy.classifier_deploy_config(), {**head, "top_k": min(TOP_K, len(trained.labels))}
    try:
        thresholds = deploy.post_processing_from_test_cfg(trained.config.model.test_cfg)
    except (AttributeError, KeyError, TypeError) as exc:
        raise JobError(
            "export",
            f"model.test_cfg has no {exc}; served are detectors of one stage, whose test_cfg is dict(nms_pre=…, "
            "score_thr=…, nms=dict(type='nms', iou_threshold=…), max_per_img=…)",
        ) from exc
    if job.source.get("graph_threshold") is not None:
        thresholds["score_threshold"] = max(thresholds["score_threshold"], job.source["graph_threshold"])
        trained.config.model.test_cfg.score_thr = thresholds["score_threshold"]  # where mmdeploy's heads look first
    head = {
        "head": "mmdet",
        "boxes": "dets",
        "label_ids": "labels",
        "score_threshold": thresholds["score_threshold"],
        "max_detections": thresholds["keep_top_k"],
    }
    return deploy.detector_deploy_config(**thresholds), head


def _name(trained: Trained) -> str:
    """As mmdeploy names models: after the network."""
    model = trained.config.model
    kind = model.type if trained.codebase == "mmdet" else model.backbone.type
    return str(kind).rpartition(".")[2].lower()


def _noise(path: Path) -> Path:
    picture = np.random.default_rng(0).integers(0, 256, (*TRACED_HW, 3), dtype=np.uint8)
    cv2.imwrite(str(path), picture)
    return path
