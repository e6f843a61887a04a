"""A framework is asked for a few photos at a time, and what it answers is deleted once it is compared."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.conversion import Candidate, checked
from builder.exporter import CHUNK, Export, exported, references
from builder.frameworks.job import Job
from builder.progress import Progress
from builder.recipes.recipe import recipe_from_folder
from tests.builder.recipes import write_photos, write_recipe
from tests.programs import python_program

PHOTOS = 2 * CHUNK + 3
FRAMEWORK = """
import json, sys
from pathlib import Path
import numpy as np
job = json.loads(Path(sys.argv[-1]).read_text())
out = Path(job["out"])
for number, photo in enumerate(job["photos"]):
    size = Path(photo).stat().st_size
    np.savez(out / f"{number:05}.npz", tensor=np.full((3, 2, 2), size, np.float32), probabilities=np.float32([1]))
with (out.parent / "jobs").open("a") as file:
    print(len(job["photos"]), file=file)
"""


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Export, Candidate]:
    """A toy whose answers come from a program that stands where the frameworks' interpreter is looked for."""
    program = python_program(tmp_path / "python", FRAMEWORK)
    monkeypatch.setenv("JETSERVE_FRAMEWORKS_PYTHON", str(program))
    made = exported(recipe_from_folder(write_recipe(tmp_path / "recipe")), None, False, tmp_path, Progress())
    job = Job("export", "openmmlab", {}, tmp_path / "out" / "export", None)
    return replace(made, job=job), checked(made.source, None, Progress())


def test_answers_do_not_pile_up(export: tuple[Export, Candidate], tmp_path: Path) -> None:
    """However many photos: never more files than a job's, each photo's own answer, and none left behind."""
    photos = sorted(write_photos(tmp_path / "photos", PHOTOS).iterdir())
    most = 0
    with Progress().step("parity") as step:
        found = []
        for one in references(*export, photos, step):
            most = max(most, len(list((tmp_path / "out" / "infer").glob("*.npz"))))
            found.append((one.name, float(one.answer.tensor[0, 0, 0])))
    assert found == [(photo.name, float(photo.stat().st_size)) for photo in photos]
    assert most == CHUNK
    assert list((tmp_path / "out" / "infer").iterdir()) == []
    assert (tmp_path / "out" / "jobs").read_text().split() == [str(CHUNK), str(CHUNK), "3"]
