"""Detections, whichever head a contract has."""

from collections.abc import Sequence

from vision.contract import Contract, MmdetHead, SsdHead, YoloHead
from vision.errors import ContractError
from vision.geometry import Geometry
from vision.heads import mmdet, ssd, yolo
from vision.heads.found import Detections
from vision.heads.outputs import Outputs


def detections_from_outputs(
    contract: Contract,
    outputs: Outputs,
    geometries: Sequence[Geometry],
    *,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> list[Detections]:
    """One `Detections` a photo of the batch, in order; the contract's thresholds hold where none is given.

    `outputs` are by name, with the batch dimension, as the contract's head describes them. Kept are scores above
    `score_threshold`, mapped back and clipped to the photo; boxes wholly outside it are dropped.

    Raises:
        BackendFailure: outputs missing, of another shape or dtype, not finite, or a label that the contract lacks.
        ContractError: the contract has another head.
    """
    head = contract.postprocess
    if not isinstance(head, MmdetHead | SsdHead | YoloHead):
        raise ContractError(f"expected a contract with the head of a detector, got {head.head!r}")
    threshold = head.score_threshold if score_threshold is None else score_threshold
    limit = head.max_detections if max_detections is None else max_detections
    match head:
        case MmdetHead():
            return mmdet.detections(contract, head, outputs, geometries, threshold, limit)
        case SsdHead():
            return ssd.detections(contract, head, outputs, geometries, threshold, limit)
        case YoloHead():
            return yolo.detections(contract, head, outputs, geometries, threshold, limit)
