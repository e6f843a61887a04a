"""The chain's two ends: what a recipe answers over HTTP is what its framework answers by itself."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from builder.__main__ import main as builder
from builder.conversion import checked
from builder.evaluate.predictions import Prediction
from builder.evaluate.samples import photos_below
from builder.evaluate.sides import ServerSide
from builder.exporter import exported
from builder.parity import require
from builder.parity.compare import compare
from builder.progress import Progress
from builder.publishing.publication import served
from builder.recipes.parts import Tolerance
from builder.recipes.photos import SUFFIXES, data_root
from builder.recipes.recipe import Recipe, recipe_from_folder
from builder.served import Server
from builder.verify import Side
from tests.frameworks.jobs import NEEDS_FRAMEWORKS
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton
from vision.heads import Classification, Detections

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.parent for path in ROOT.glob("recipes/*/recipe.yaml"))
SHIPPED = tuple(sorted(path for path in (ROOT / "recipes/photos").iterdir() if path.suffix in SUFFIXES))
REAL_PHOTOS = 20

pytestmark = [*NEEDS_FRAMEWORKS, pytest.mark.triton]


class Ends(NamedTuple):
    """Both ends of one recipe."""

    recipe: Recipe
    server: ServerSide
    side: Side
    tolerance: Tolerance


@pytest.fixture(scope="module", params=RECIPES, ids=lambda folder: folder.name)
def ends(
    request: pytest.FixtureRequest, triton: LocalTriton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ends]:
    """The recipe, built with the command that people use, behind a real Triton and a real gateway."""
    recipe = recipe_from_folder(request.param)
    name = f"http-{recipe.name}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("build"))  # where the log goes
        assert builder(["build", str(request.param), "--name", name, "--repository", str(triton.repository)]) == 0
    triton.load(name)
    with no_settings(), running_gateway(triton.address) as gateway, closing(Server(gateway.url)) as server:
        _, side = served(triton.repository, name)
        yield Ends(recipe, ServerSide(server, name), side, recipe.parity.tolerances["fp32"])


def test_the_recipes_pictures(ends: Ends, tmp_path: Path) -> None:
    """Every size, shape and kind of file that ships."""
    agree(ends, SHIPPED, tmp_path)


@pytest.mark.data
def test_real_photos(ends: Ends, tmp_path: Path) -> None:
    """Twenty photos of the recipe's own kind; where the evaluation has fewer, others of its data set as well."""
    assert ends.recipe.evaluation is not None
    folder = data_root() / ends.recipe.evaluation.images
    photos = photos_below(folder)
    if not photos:
        pytest.skip(f"no photos in {folder}: set JETSERVE_DATA")
    if len(photos) < REAL_PHOTOS:
        photos += [photo for photo in photos_below(folder.parent) if photo not in photos]
    assert len(photos) >= REAL_PHOTOS
    agree(ends, spread(photos, REAL_PHOTOS), tmp_path)


def spread(photos: Sequence[Path], number: int) -> list[Path]:
    """So many, from the first to the last."""
    return [photos[place * len(photos) // number] for place in range(number)]


def agree(ends: Ends, photos: Sequence[Path], folder: Path) -> None:
    """The gate itself, asked as in a build, with the running server in the published graph's place."""

    def ask(data: bytes) -> Detections | Classification:
        return result(ends.server.server.answer(ends.server.model, ends.side.contract, data))

    progress = Progress()
    export = exported(ends.recipe, None, False, folder / "export", progress)
    candidate = checked(export.source, None, progress)
    with progress.step("parity") as step:
        require(compare(ends.side, export, candidate, photos, ends.tolerance, step, ask=ask))


def result(prediction: Prediction) -> Detections | Classification:
    scores, ids = np.array(prediction.scores, np.float32), np.array(prediction.label_ids, np.int64)
    if prediction.boxes is None:
        return Classification(scores, ids)
    return Detections(np.array(prediction.boxes, np.float32).reshape(-1, 4), scores, ids)
