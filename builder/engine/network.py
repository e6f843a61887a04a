"""A network from an ONNX, and whether its inputs fit the optimisation profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from builder.engine.faults import JobError
from builder.engine.libraries import Libraries

FREE = -1
DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
SHOWN_ERRORS = 5


def parsed(libraries: Libraries, onnx: str, strongly_typed: bool) -> tuple[Any, Any, Any]:
    """Builder, network and parser, which the network's weights live with.

    Raises:
        JobError: bad_input, no such file or no ONNX; unsupported_operator, with the nodes.
    """
    if not Path(onnx).is_file():
        raise JobError("bad_input", f"{onnx}: expected an ONNX, there is no such file")
    builder, network = libraries.backend.create_network(strongly_typed=strongly_typed)
    libraries.trt.init_libnvinfer_plugins(libraries.logger, "")
    parser = libraries.trt.OnnxParser(network, libraries.logger)
    if parser.parse_from_file(onnx) and parser.num_errors == 0:
        return builder, network, parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    version = libraries.trt.__version__
    if not errors or all(error.code().name == "MODEL_DESERIALIZE_FAILED" for error in errors):
        raise JobError("bad_input", f"{onnx}: TensorRT {version} reads no ONNX from it")
    told = [_told(error) for error in errors[:SHOWN_ERRORS]] + libraries.hearing.parse_lines()[-SHOWN_ERRORS:]
    raise JobError(
        "unsupported_operator",
        "TensorRT {} refuses the ONNX: {}; export it otherwise, or take a newer TensorRT".format(
            version, "; ".join(told)
        ),
    )


def _told(error: Any) -> str:
    """One error of the parser: the node's name where this TensorRT says it (from 10 on), else its place."""
    named = hasattr(error, "node_name")
    node = f"{error.node_name()} ({error.node_operator()})" if named else f"node {error.node()}"
    return f"{node}: {error.code().name} {error.desc()}"


def checked_profiles(network: Any, profiles: dict[str, Any]) -> dict[str, Any]:
    """The ranges of each input; an input of one shape alone needs none.

    Raises:
        JobError: bad_input, a name that is no input, a range that is none, or a free side without a range.
    """
    inputs = {network.get_input(index).name: network.get_input(index) for index in range(network.num_inputs)}
    unknown = sorted(set(profiles) - set(inputs))
    if unknown:
        raise JobError("bad_input", "profile of {}: expected inputs {}".format(", ".join(unknown), ", ".join(inputs)))
    for name, tensor in inputs.items():
        sides = tuple(tensor.shape)
        if name in profiles:
            _check_range(name, sides, profiles[name])
        elif FREE in sides:
            raise JobError("bad_input", f"input {name} is {sides}: a free side needs a profile, min, opt and max")
    return profiles


def _check_range(name: str, sides: tuple[int, ...], shapes: dict[str, list[int]]) -> None:
    low, best, high = (tuple(shapes[key]) for key in ("min", "opt", "max"))
    fits = len(low) == len(best) == len(high) == len(sides) and all(
        0 < a <= b <= c and (side == FREE or a == c == side) for side, a, b, c in zip(sides, low, best, high)
    )
    if not fits:
        text = "profile of {}: min {}, opt {}, max {}; expected ranges of {}, in that order"
        raise JobError("bad_input", text.format(name, low, best, high, sides))


def tensors(tensor_of: Callable[[int], Any], number: int) -> list[dict[str, Any]]:
    """Inputs or outputs: name, NumPy's name of the dtype, shape with -1 for a free side."""
    found = [tensor_of(index) for index in range(number)]
    return [
        {"name": tensor.name, "dtype": dtype_name(tensor.dtype), "shape": [int(side) for side in tensor.shape]}
        for tensor in found
    ]


def dtype_name(dtype: Any) -> str:
    """NumPy's name of a TensorRT type."""
    return DTYPES.get(dtype.name, str(dtype.name).lower())
