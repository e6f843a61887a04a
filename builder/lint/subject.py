"""What is to be looked at: an ONNX file, a model that is published, or a recipe, brought to the graph that is sent."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from builder.conversion import batched, checked, fitted, folded
from builder.exporter import exported
from builder.lint.shape_rules import Profile
from builder.probes import probes_from_photos
from builder.progress import Progress
from builder.publishing.inventory import GRAPH, model_of
from builder.publishing.place import REPOSITORIES
from builder.recipes.photos import photo_from_path, photos_from_patterns
from builder.recipes.recipe import FILE, recipe_from_folder
from builder.scratch import scratch_folder, sweep
from vision.errors import BuildError

STEP = "read"
PROBES = 4
"""Of a recipe's photos, so many are looked at while its batch is made dynamic."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph under the name that was given; profile and precision where a contract says them."""

    name: str
    model: onnx.ModelProto
    profile: Profile | None
    precision: str | None


def subject_from_name(given: str, repository: Path | None, max_batch: int | None, progress: Progress) -> Subject:
    """Find out what was given, and read it; a recipe is exported and prepared as `build --target jetson` does.

    Raises:
        BuildError: there is no such file, folder or model, or a step fails.
    """
    path = Path(given)
    if path.suffix.lower() == ".onnx":
        return Subject(given, _model(path), None if max_batch is None else Profile(max_batch), None)
    if (path / FILE).is_file():
        return _of_recipe(path, progress)
    if path.is_dir():
        raise BuildError(STEP, f"{path} is a folder without a {FILE}; give a recipe, an .onnx, or a published model")
    return _of_published(given, repository)


def _of_published(name: str, repository: Path | None) -> Subject:
    """The served version, of the repository for devices first."""
    places = [repository] if repository is not None else [Path(place) for place in (REPOSITORIES["jetson"], *HERE)]
    there = [place for place in places if (place / name).is_dir()]
    if not there:
        raise BuildError(
            STEP,
            f"{name!r} is no .onnx file, no recipe, and no model in {' or '.join(map(str, places))}; give --repository",
        )
    model = model_of(there[0], name)
    version = None if model.served is None else model.version(model.served)
    if version is None or version.contract is None:
        raise BuildError(STEP, f"{model.folder}: {model.problem or (version and version.problem)}")
    contract = version.contract
    graph = _model(version.folder / GRAPH)
    return Subject(str(model.folder), graph, Profile(contract.max_batch), contract.provenance.precision)


HERE = (REPOSITORIES["cpu"],)


def _of_recipe(folder: Path, progress: Progress) -> Subject:
    recipe = recipe_from_folder(folder)
    photos = photos_from_patterns(recipe.parity.images, recipe.folder, "parity")[:PROBES]
    probes = [*probes_from_photos([(path.name, photo_from_path(path)) for path in photos]), *probes_from_photos([])]
    sweep()
    with scratch_folder("lint") as scratch:
        source = exported(recipe, None, False, scratch / "export", progress).source
        came = batched(checked(source, None, progress), recipe.serve.max_batch, probes, progress)
        sent = fitted(folded(came, True, progress), progress)
    contract = sent.contract
    return Subject(str(folder), sent.model, Profile(contract.max_batch), contract.provenance.precision)


def _model(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}") from exc
    except (DecodeError, ValueError, onnx.checker.ValidationError) as exc:
        raise BuildError(STEP, f"{path} is not a whole ONNX file ({exc}); copy or export it again") from exc
    if not model.graph.node:
        raise BuildError(STEP, f"{path} holds no graph; expected an ONNX model. Export it again")
    return model
