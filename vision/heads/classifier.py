"""One vector of class scores a photo."""

import numpy as np
from numpy.typing import NDArray

from vision.contract import ClassifierHead, Contract
from vision.errors import ContractError
from vision.heads.found import Classification
from vision.heads.outputs import Outputs, checked_output, require_finite


def classifications_from_outputs(
    contract: Contract,
    outputs: Outputs,
    *,
    top_k: int | None = None,
    score_threshold: float | None = None,
) -> list[Classification]:
    """One `Classification` a photo of the batch, in order: the `top_k` best, those above `score_threshold` if given.

    The output is [n, classes], with one score for each of the contract's labels.

    Raises:
        BackendFailure: the output is missing, of another shape or dtype, or not finite.
        ContractError: the contract has another head.
    """
    head = contract.postprocess
    if not isinstance(head, ClassifierHead):
        raise ContractError(f"expected a contract with a classifier head, got {head.head!r}")
    scores = checked_output(contract, outputs, head.scores, (None, len(contract.labels)))
    require_finite(head.scores, scores)
    probabilities = _softmax(scores) if head.activation == "softmax" else scores
    limit = head.top_k if top_k is None else top_k
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :limit]
    best = np.take_along_axis(probabilities, order, axis=1).astype(np.float32)
    floor = -np.inf if score_threshold is None else score_threshold
    return [
        Classification(row[row > floor], ids[row > floor].astype(np.int64))
        for row, ids in zip(best, order, strict=True)
    ]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exps: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    exps /= exps.sum(axis=1, keepdims=True)
    return exps
