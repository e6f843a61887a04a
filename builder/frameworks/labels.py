"""Labels as a recipe's source gives them to a job."""

from collections.abc import Sequence
from pathlib import Path

from builder.frameworks.job import JobError
from builder.recipes.labels import LabelsError, labels_from_file, labels_from_lines


def labels_from_setting(setting: str | Sequence[str]) -> tuple[str, ...]:
    """One label a line of the file named, or the list that is given.

    Raises:
        JobError: what `builder.recipes.labels` finds wrong.
    """
    try:
        if isinstance(setting, str):
            return labels_from_file(Path(setting))
        return labels_from_lines(setting, "the recipe's list of labels")
    except LabelsError as exc:
        raise JobError("contract", str(exc)) from exc
