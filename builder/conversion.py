"""From a source to what is published: contract, check, batch, fold, precision, verify."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import onnx
import onnxruntime
from pydantic import ValidationError

from builder import verify
from builder.calibration import Calibration
from builder.graphs import fold, graph
from builder.graphs.batch import with_dynamic_batch
from builder.graphs.fixed_results import with_fixed_results
from builder.graphs.overflow import MEASURED, first_overflow
from builder.graphs.precision import with_fp16, with_int8
from builder.graphs.size import size_from_steps, with_size
from builder.probes import Probe
from builder.progress import Progress
from builder.recipes.labels import repeated_labels
from builder.recipes.parts import Precision
from builder.source import Source, check_labels
from vision import __version__
from vision.contract import Contract, Output, Provenance
from vision.dtypes import DTYPES
from vision.errors import BuildError

CalibrationOf = Callable[[Contract], Calibration]
"""The photos, for the contract that feeds the graph."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may come to be published: `data` is `model` as bytes, and `contract` is what feeds it.

    `origin` is the source's own ONNX as it came, behind the contract that feeds that.
    """

    source: Source
    origin: verify.Side
    model: onnx.ModelProto
    data: bytes
    contract: Contract

    @property
    def side(self) -> verify.Side:
        """The contract here names the hash of the graph it feeds."""
        provenance = self.contract.provenance.model_copy(update={"model_sha256": sha256(self.data)})
        return verify.Side(self.data, self.contract.model_copy(update={"provenance": provenance}))


def checked(source: Source, max_batch: int | None, progress: Progress) -> Candidate:
    """The steps `contract` and `check`. `max_batch` None takes what the graph allows.

    Raises:
        BuildError: what the source says contradicts itself or its graph.
    """
    with progress.step("contract") as step:
        step.done(f"{source.task}, {counted(len(source.labels), 'label')}: {_labels(source)}")
        check_labels(source)
        for note in (*source.notes, *repeated_labels(source.labels)):
            step.note(note)
    with progress.step("check") as step:
        model = graph.model_from_bytes(source.onnx, source.name)
        contract = _contract(model, source, max_batch)
        origin, data = verify.Side(source.onnx, contract), source.onnx
        size_hw = size_from_steps(contract.preprocess)
        if -1 in contract.input.size_hw and size_hw is not None:
            model = with_size(model, contract.input.name, contract.input.layout, size_hw)
            contract, data = _contract(model, source, max_batch), _bytes(model)
            step.note(f"the graph takes any size, and gets {size_hw[0]}x{size_hw[1]} only: served with that")
        step.done(f"{_tensors(contract)}; opset {graph.opset(model)}, batch up to {contract.max_batch}")
    return Candidate(source, origin, model, data, contract)


def batched(candidate: Candidate, wanted: int | None, probes: Sequence[Probe], progress: Progress) -> Candidate:
    """The step `batch`: any batch in place of 1, where two images at once are then answered as each alone.

    Raises:
        BuildError: more than 1 is wanted, and the network cannot.
    """
    with progress.step("batch") as step:
        if candidate.contract.max_batch > 1 or wanted == 1:
            largest = wanted or candidate.contract.max_batch
            step.done(f"up to {largest}, as it came")
            return replace(candidate, contract=candidate.contract.model_copy(update={"max_batch": largest}))
        try:
            made = _with_dynamic_batch(candidate, wanted, probes)
        except BuildError as exc:
            if wanted is not None:
                raise BuildError("batch", f"max_batch {wanted} is wanted, and {exc.detail}") from exc
            step.done(f"stays 1: {exc.detail}")
            return candidate
        step.done(f"up to {made.contract.max_batch}, made dynamic; two at once equal each alone")
        return made


def folded(candidate: Candidate, wanted: bool, progress: Progress) -> Candidate:
    """The step `fold`: colour order, normalisation and layout into the graph. What is not folded keeps its bytes."""
    with progress.step("fold") as step:
        contract = candidate.contract
        model = candidate.model
        result = fold.folded(model, contract) if wanted else fold.Folded(model, contract, "not wanted")
        entry = result.contract.input
        shape = f"{entry.dtype} {entry.layout} {list(entry.shape)}"
        if result.hindrance is not None:
            step.done(f"nothing ({result.hindrance}); {entry.name!r} stays {shape}")
            return candidate
        try:
            onnx.checker.check_model(result.model)
        except onnx.checker.ValidationError as exc:
            raise BuildError("fold", f"folding made an invalid graph ({exc}); use --no-fold and report this") from exc
        step.done(f"{', '.join(step.op for step in result.contract.in_graph)}; {entry.name!r} is {shape}")
        return replace(candidate, model=result.model, data=_bytes(result.model), contract=result.contract)


def fitted(candidate: Candidate, progress: Progress) -> Candidate:
    """The step `fit`, for engines: results of a fixed size and INT32 labels, where the graph has others.

    Raises:
        BuildError: the graph cannot be run.
    """
    contract = candidate.contract
    with progress.step("fit") as step:
        if -1 in contract.input.shape:
            step.done("nothing: the network takes any size, and its results follow from it")
            return candidate
        batches = sorted({1, min(2, contract.max_batch)})
        shape, dtype = contract.input.shape, DTYPES[contract.input.dtype]
        feeds = [{contract.input.name: np.zeros((batch, *shape), dtype)} for batch in batches]
        result = with_fixed_results(candidate.model, feeds)
        for note in result.notes:
            step.note(note)
        if not result.notes:
            step.done("nothing: results have a fixed size already")
            return candidate
        made = {value.name: value for value in result.model.graph.output}
        outputs = tuple(_as_made(output, made[output.name]) for output in contract.outputs)
        contract = contract.model_copy(update={"outputs": outputs})
        step.done(", ".join(f"{output.name} {output.dtype} {list(output.shape)}" for output in outputs))
        return replace(candidate, model=result.model, data=_bytes(result.model), contract=contract)


def converted(
    candidate: Candidate, precision: Precision, calibration_of: CalibrationOf, progress: Progress
) -> Candidate:
    """The step `precision`: FP16 or INT8 inside, the inputs and outputs as they were.

    Raises:
        BuildError: the source is of a lower precision already, or an overflow, by node.
    """
    came = candidate.source.precision
    with progress.step("precision") as step:
        if precision in ("fp32", came):
            step.done(f"{came}, as it came")
            return candidate
        if came != "fp32":
            raise BuildError("precision", f"the source is {came} already, expected fp32 to make {precision} of")
        calibration = calibration_of(candidate.contract)
        if precision == "fp16":
            calibration = calibration.sample(MEASURED)
            model = with_fp16(candidate.model, calibration, on_note=step.note)
            if (node := first_overflow(model, calibration)) is not None:
                raise BuildError(
                    "precision", f"node {node!r} leaves the range of float16 (65504); build with --precision fp32"
                )
        else:
            step.total(len(calibration))
            model = with_int8(candidate.model, calibration, on_feed=step.advance, on_note=step.note)
            for note in calibration.notes():
                step.note(note)
        step.done(f"{precision}, measured on {counted(len(calibration), 'photo')}; inputs and outputs keep their types")
        provenance = candidate.contract.provenance.model_copy(update={"precision": precision})
        contract = candidate.contract.model_copy(update={"provenance": provenance})
        return replace(candidate, model=model, data=_bytes(model), contract=contract)


def verified(folded: Candidate, final: Candidate, probes: Sequence[Probe], progress: Progress) -> None:
    """The step `verify`: folding changed nothing, and what is published answers, alone and in a batch.

    Raises:
        BuildError: naming the output, what was expected and what came.
    """
    with progress.step("verify") as step:
        lines = verify.verify(folded.origin, folded.side, probes)
        if final.data != folded.data:  # another precision: how far it may be off is for parity to say
            lines += verify.verify(final.side, final.side, probes)
        for line in lines:
            step.done(line)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _contract(model: onnx.ModelProto, source: Source, max_batch: int | None) -> Contract:
    digest = sha256(source.onnx)
    provenance = Provenance(
        source=source.name,
        source_sha256=digest,
        model_sha256=digest,
        precision=source.precision,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tools={
            **source.tools,
            "jetserve": __version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )
    try:
        return graph.contract_from_graph(model, source, provenance, max_batch)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in exc.errors())
        raise BuildError("contract", f"{source.name} contradicts itself: {problems}") from exc


def _with_dynamic_batch(candidate: Candidate, wanted: int | None, probes: Sequence[Probe]) -> Candidate:
    model = with_dynamic_batch(candidate.model, candidate.contract.input.name)
    if model is None:
        raise BuildError("batch", "the graph holds its batch of 1 in more than shapes; export it with a dynamic one")
    data = _bytes(model)
    source = replace(candidate.source, onnx=data)
    contract = _contract(model, source, wanted)
    kept = contract.model_copy(update={"provenance": candidate.contract.provenance})
    verify.verify(candidate.origin, verify.Side(data, kept), probes)
    return replace(candidate, model=model, data=data, contract=kept)


def _as_made(output: Output, value: onnx.ValueInfoProto) -> Output:
    """The contract's output with the dtype that the graph now gives, and the sides that it now fixes."""
    sides = graph.shape_of(value)[1:]
    dtype = graph.DTYPES[value.type.tensor_type.elem_type]
    shape = tuple(new if old == graph.ANY else old for old, new in zip(output.shape, sides, strict=True))
    return Output.model_validate({"name": output.name, "dtype": dtype, "shape": shape})


def _bytes(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def _labels(source: Source) -> str:
    shown = ", ".join(source.labels[:5])
    return shown + (", …" if len(source.labels) > 5 else "")


def _tensors(contract: Contract) -> str:
    entry = contract.input
    outputs = ", ".join(f"{o.name} {o.dtype} {list(o.shape)}" for o in contract.outputs)
    return f"{entry.name} {entry.dtype} {entry.layout} {list(entry.shape)} -> {outputs}"
