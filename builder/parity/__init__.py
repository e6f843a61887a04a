"""Nothing is published that does not agree with its source: the comparison, its gate and its report."""

from builder.parity.gate import check_parity
from builder.parity.graph_reference import references_from_graph
from builder.parity.reference import Reference, references_from_folder
from builder.parity.report import ParityReport, require

__all__ = [
    "ParityReport",
    "Reference",
    "check_parity",
    "references_from_folder",
    "references_from_graph",
    "require",
]
