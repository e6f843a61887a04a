"""What the parser knows: opsets, operators, other people's operators, and functions."""

from collections.abc import Iterator

import onnx

from builder.lint.finding import Finding
from builder.lint.network import STANDARD, Network, told
from builder.lint.operators import Support

FUNCTIONS_SINCE = (9, 0)
MMDEPLOY = "mmdeploy"
PLUGINS = ("_TRT", "_Plugin")
"""How the plugins that come with TensorRT itself end (https://github.com/NVIDIA/TensorRT, plugin/)."""
ANOTHER_DEPLOY_CONFIG = (
    "export with mmdeploy's ONNX Runtime deploy config (backend_config = dict(type='onnxruntime')), which writes the "
    "standard NonMaxSuppression that TensorRT runs from 8.5 on"
)


def findings(network: Network, support: Support) -> Iterator[Finding]:
    yield from _opset(network, support)
    functions = {(function.domain, function.name) for function in network.model.functions}
    if functions and support.version < FUNCTIONS_SINCE:
        names = ", ".join(sorted(f"{domain}::{name}" for domain, name in functions))
        yield Finding(
            "fail",
            names,
            "a function of the model's own, which TensorRT reads from 9 on",
            "put it in line with onnx.inliner.inline_local_functions",
        )
    for node in network.nodes():
        if (node.domain, node.op_type) in functions:
            continue
        yield from _custom(node) if node.domain not in STANDARD else _standard(node, support)


def _opset(network: Network, support: Support) -> Iterator[Finding]:
    found, most = network.opset, support.table.max_opset
    if support.takes_opset(found):
        return
    if support.takes_opset(found) is None and support.later is not None:
        yield Finding(
            "warn",
            f"opset {found}",
            f"read for certain are opsets up to {most} (TensorRT {_dotted(support.table.until)}) and, later, "
            f"{support.later.max_opset} (TensorRT {_dotted(support.later.since)})",
            f"export with opset {most} if the device refuses it",
        )
        return
    yield Finding(
        "fail", f"opset {found}", f"this TensorRT reads up to opset {most}", f"export with opset {most} or lower"
    )


def _standard(node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    takes = support.takes(node.op_type)
    if takes is None:
        since = "" if support.later is None else f" by TensorRT {_dotted(support.later.since)}"
        yield Finding(
            "warn",
            told(node),
            f"its parser learnt this operator{since}, by which version is not known here",
            "try it on the device before counting on it",
        )
    elif not takes:
        newer = "" if support.version >= (10, 0) else ", or take a newer TensorRT"
        yield Finding(
            "fail",
            told(node),
            "unknown to its parser",
            f"export the network without it{newer} (operators by version: builder/lint/operators.json)",
        )


def _custom(node: onnx.NodeProto) -> Iterator[Finding]:
    name = f"{node.domain}::{node.op_type}"
    if node.domain == MMDEPLOY:
        yield Finding(
            "fail",
            told(node),
            f"{name} is a plugin of mmdeploy's own library, which neither TensorRT nor Triton's images have, and which "
            "is built anew for each TensorRT; nothing else runs it, so nothing can be compared before the device",
            ANOTHER_DEPLOY_CONFIG,
        )
    elif node.op_type.endswith(PLUGINS):
        yield Finding(
            "fail",
            told(node),
            f"{name} is a plugin that only TensorRT runs: nothing can be compared before the device, and it differs by "
            "version",
            "export without suppression in the graph, or with the standard NonMaxSuppression",
        )
    elif node.domain.startswith(("com.microsoft", "com.ms")):
        yield Finding(
            "fail",
            told(node),
            f"{name} is ONNX Runtime's own operator",
            "export with standard operators, or leave out ONNX Runtime's optimiser, which fuses nodes into these",
        )
    else:
        yield Finding(
            "fail",
            told(node),
            f"{name} is a custom operator: TensorRT would need a plugin of that name, which this project has not",
            "export with standard operators",
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version if len(version) > 1 else (*version, 0)))
