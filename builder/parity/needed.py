"""Whether a tolerance says what its task needs; what it leaves out would be compared by nobody."""

from builder.recipes.parts import Precision, Tolerance
from builder.recipes.recipe import FILE, Recipe
from vision.contract import ClassifierHead, Head
from vision.errors import BuildError

STEP = "parity"


def tolerance_of(recipe: Recipe, precision: Precision, head: Head | None = None) -> Tolerance:
    """The recipe's, and, where the head is known, one that says all that its task needs.

    Raises:
        BuildError: there is none for that precision, or as `check_tolerance`.
    """
    found = recipe.parity.tolerances.get(precision)
    if found is None:
        raise BuildError(
            STEP,
            f"{recipe.folder / FILE} has tolerances for {', '.join(recipe.parity.tolerances) or 'nothing'}, expected "
            f"parity.tolerances.{precision}: say there how far {precision} may be from the source",
        )
    if head is not None:
        check_tolerance(head, found, precision)
    return found


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
