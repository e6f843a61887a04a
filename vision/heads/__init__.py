"""From a network's raw outputs to detections and classes, as a contract's head says."""

from vision.heads.classifier import classifications_from_outputs
from vision.heads.detector import detections_from_outputs
from vision.heads.found import Classification, Detections
from vision.heads.outputs import Outputs
from vision.heads.tasks import found_from_outputs

__all__ = [
    "Classification",
    "Detections",
    "Outputs",
    "classifications_from_outputs",
    "detections_from_outputs",
    "found_from_outputs",
]
