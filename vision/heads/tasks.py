"""What is on photos, whatever the task of their model."""

from collections.abc import Sequence

from vision.contract import Contract
from vision.geometry import Geometry
from vision.heads.classifier import classifications_from_outputs
from vision.heads.detector import detections_from_outputs
from vision.heads.found import Classification, Detections
from vision.heads.outputs import Outputs


def found_from_outputs(
    contract: Contract,
    outputs: Outputs,
    geometries: Sequence[Geometry],
    *,
    score_threshold: float | None = None,
    top_k: int | None = None,
    max_detections: int | None = None,
) -> Sequence[Detections | Classification]:
    """One finding a photo of the batch, in order; what is None, or not for the task, the contract decides.

    Raises:
        BackendFailure: outputs missing, of another shape or dtype, not finite, or a label that the contract lacks.
    """
    if contract.task == "classification":
        return classifications_from_outputs(contract, outputs, top_k=top_k, score_threshold=score_threshold)
    return detections_from_outputs(
        contract, outputs, geometries, score_threshold=score_threshold, max_detections=max_detections
    )
