"""Every rule at once: nobody exports five times to learn of five nodes."""

import onnx

from builder.lint import node_rules, parser_rules, quantisation_rules, shape_rules, type_rules
from builder.lint.finding import Finding, fails
from builder.lint.network import network_from_model
from builder.lint.operators import support_of, tables
from builder.lint.shape_rules import Profile
from vision.errors import BuildError

STEP = "check"


def lint(
    model: onnx.ModelProto, version: str, profile: Profile | None = None, precision: str | None = None
) -> list[Finding]:
    """What TensorRT `version` refuses or does otherwise, the failures first.

    Args:
        model: any graph that protobuf could read; nothing is run.
        version: of TensorRT, as "8.5.2".
        profile: the batches that the engine is to be built for; None where nobody says.
        precision: what the model is said to be; None where nobody says.

    Raises:
        BuildError: a version that is none, or older than 8.4; or a graph that is damaged.
    """
    support = support_of(version)
    try:
        network = network_from_model(model)
        found = [
            *parser_rules.findings(network, support),
            *type_rules.findings(network, support),
            *node_rules.findings(network, support),
            *quantisation_rules.findings(network, support, precision),
            *shape_rules.findings(network, profile),
        ]
    except (IndexError, ValueError) as exc:  # names that are no text, nodes without what their operator has
        raise BuildError(STEP, f"the graph is damaged ({type(exc).__name__}: {exc}); export it again") from exc
    newest = tables()[-1].until
    if support.version[: len(newest)] > newest:
        known = ".".join(map(str, newest))
        found.append(
            Finding(
                "warn", f"TensorRT {version}", f"newer than the tables here, which end at {known}", "read its notes"
            )
        )
    return sorted(dict.fromkeys(found), key=lambda finding: finding.level != "fail")


def check_for_tensorrt(model: onnx.ModelProto, version: str, profile: Profile, precision: str) -> list[str]:
    """What the person who builds should know of the graph on TensorRT `version`; [] where there is nothing.

    Raises:
        BuildError: with every failure, its reason and its remedy.
    """
    found = lint(model, version, profile, precision)
    if refused := fails(found):
        lines = "\n".join(f"  {finding}" for finding in refused)
        raise BuildError(STEP, f"TensorRT {version} refuses the graph:\n{lines}")
    return [str(finding) for finding in found]
