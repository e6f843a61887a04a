"""Whether a tolerance says what its task needs; what it leaves out would be compared by nobody."""

from builder.recipes.parts import Precision, Tolerance
from vision.contract import ClassifierHead, Head
from vision.errors import BuildError

STEP = "parity"


def check_tolerance(head: Head, tolerance: Tolerance, precision: Precision) -> None:
    """Before anything is compared, and in a build as soon as the head is known.

    Raises:
        BuildError: naming the fields that are missing, or `agreement` where nothing is quantised.
    """
    is_classifier = isinstance(head, ClassifierHead)
    needed = ("top_k",) if is_classifier else ("iou", "unmatched")
    missing = [name for name in needed if getattr(tolerance, name) is None]
    if missing:
        task = "a classifier" if is_classifier else "a detector"
        raise BuildError(
            STEP, f"parity.tolerances.{precision} lacks {' and '.join(missing)}: this is {task}, and needs them said"
        )
    if tolerance.agreement is not None and precision != "int8":
        raise BuildError(
            STEP,
            f"parity.tolerances.{precision}.agreement: only int8 may have images of another first class; leave it out",
        )
