"""The build, step by step: fetch, export, contract, check, batch, fold, precision, verify, parity, publish.

Nothing is written into the repository before publish; what the steps write on their way lies in a scratch folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.calibration import Calibration, calibration_from_photos, without
from builder.conversion import Candidate, batched, checked, converted, counted, fitted, folded, verified
from builder.evaluate.data import dataset_from_settings
from builder.exporter import Export, exported
from builder.golden import Golden, golden_from_side
from builder.lint.check import check_for_tensorrt
from builder.lint.shape_rules import Profile
from builder.parity.compare import compare
from builder.parity.needed import tolerance_of
from builder.parity.report import ParityReport, require
from builder.probes import Probe, probes_from_photos
from builder.progress import Progress
from builder.publishing.papers import papers
from builder.publishing.place import BACKENDS, REPOSITORIES, check_place
from builder.publishing.publication import Publication, published, told
from builder.publishing.repository import Published, checked_name
from builder.publishing.triton_config import Accelerator, Serving, serving_with
from builder.recipes.parts import Precision, Target, Tolerance
from builder.recipes.photos import data_root, photo_from_path, photos_from_patterns
from builder.recipes.recipe import FILE, Recipe
from builder.scratch import scratch_folder, sweep
from builder.suspicions import suspicions
from vision.contract import Contract
from vision.errors import BuildError, InvalidImage
from vision.transforms import Preprocessor

TENSORRT = "8.6"
PROBE_PHOTOS = 4
"""Of the parity photos, so many are verified on as well: verify asks for something found."""


@dataclass(frozen=True, slots=True)
class Order:
    """How a recipe is to be built; None leaves it to the recipe, or to the target."""

    recipe: Recipe
    name: str | None = None
    repository: Path | None = None
    target: Target = "cpu"
    tensorrt: str = TENSORRT
    accelerator: Accelerator = "none"
    precision: Precision = "fp32"
    checkpoint: Path | None = None
    trust_checkpoint: bool = False
    photos: tuple[str, ...] = ()
    calibration: Path | None = None
    fold: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it."""

    published: Published
    parity: ParityReport


class ParityError(BuildError):
    """The published model would answer otherwise than its source; `report` says where."""

    def __init__(self, detail: str, report: ParityReport) -> None:
        super().__init__("parity", detail)
        self.report = report


def build(order: Order, progress: Progress) -> Built:
    """Build a recipe and publish what comes of it.

    Raises:
        BuildError: naming the step; the repository is as it was.
    """
    try:
        sweep()
        with scratch_folder("build") as scratch:
            return _build(order, scratch, progress)
    except OSError as exc:
        step = progress.current or "read"
        raise BuildError(step, f"{exc.strerror or exc}: {exc.filename or 'no file named'}") from exc


def _build(order: Order, scratch: Path, progress: Progress) -> Built:
    recipe = order.recipe
    name = checked_name(recipe.name if order.name is None else order.name)
    repository = order.repository or Path(REPOSITORIES[order.target])
    check_place(repository, name, order.target)
    tolerance_of(recipe, order.precision)  # before the long steps, and so is every photo
    photos = _photos(order)
    probes = [*_probes(photos, progress), *probes_from_photos([])]
    calibration = calibration_photos(order, progress)
    export = exported(recipe, order.checkpoint, order.trust_checkpoint, scratch / "export", progress)
    source = export.source
    tolerance_of(recipe, order.precision, source.postprocess)  # as soon as it is known what must be compared
    came = batched(checked(source, None, progress), recipe.serve.max_batch, probes, progress)
    served = folded(came, order.fold, progress)
    plain = Serving(BACKENDS[order.target], accelerator=order.accelerator)
    serving = serving_with(recipe.settings_for(order.target), plain, name, served.side.contract)
    fit = fitted(served, progress) if order.target == "jetson" else served
    final = converted(fit, order.precision, lambda contract: _feeds(calibration, photos, contract), progress)
    _check_for_target(final, order, progress)
    verified(served, final, probes, progress)
    _suspected(served, probes, progress)
    tolerance = tolerance_of(recipe, final.contract.provenance.precision, final.contract.postprocess)
    report = _parity(final, export, photos, tolerance, name, progress)
    golden = _golden(final, photos, report, export.is_random, progress) if order.target == "jetson" else None
    with progress.step("publish") as step:
        publication = Publication(
            repository,
            name,
            serving,
            order.force,
            papers(export, final, report, order.target, progress.seconds, golden),
        )
        result = published(final.side, publication)
        step.done(told(result))
    return Built(result, report)


def _suspected(served: Candidate, probes: Sequence[Probe], progress: Progress) -> None:
    notes = list(suspicions(served.origin, probes))
    if notes:
        with progress.step("verify") as step:
            for note in notes:
                step.note(note)


def _parity(
    final: Candidate, export: Export, photos: Sequence[Path], tolerance: Tolerance, name: str, progress: Progress
) -> ParityReport:
    with progress.step("parity") as step:
        report = compare(final.side, export, final, photos, tolerance, step, name=name)
        try:
            require(report)
        except BuildError as exc:
            raise ParityError(exc.detail.removeprefix(f"{exc.step}: "), report) from exc
        step.done(report.summary())
        return report


def _golden(
    final: Candidate, photos: Sequence[Path], report: ParityReport, is_random: bool, progress: Progress
) -> Golden:
    """What the device will hold its engine against."""
    with progress.step("golden") as step:
        golden = golden_from_side(final.side, photos, report.images, report.tolerance, is_random=is_random)
        step.done(f"outputs on {counted(len(golden.photos), 'photo')}, for the engine to be held against on the device")
        return golden


def _check_for_target(final: Candidate, order: Order, progress: Progress) -> None:
    """What the target's own rules say of the graph, as notes."""
    if order.target == "jetson":
        with progress.step("check") as step:
            profile, precision = Profile(final.contract.max_batch), final.contract.provenance.precision
            for note in check_for_tensorrt(final.model, order.tensorrt, profile, precision):
                step.note(note)
            step.done(f"TensorRT {order.tensorrt} takes every node of it, for batches of 1 to {profile.max_batch}")


def _photos(order: Order) -> tuple[Path, ...]:
    """The recipe's parity photos, and those that were given."""
    own = photos_from_patterns(order.recipe.parity.images, order.recipe.folder, "parity")
    given = photos_from_patterns(order.photos, Path.cwd(), "parity")
    return tuple(dict.fromkeys([*own, *given]))


def calibration_photos(order: Order, progress: Progress) -> tuple[Path, ...]:
    """What scales are taken from: never a photo that the recipe is evaluated on, under whatever name.

    Raises:
        BuildError: there are none, or no others.
    """
    wanted, settings = _wanted_for_calibration(order, progress), order.recipe.evaluation
    if not wanted or settings is None or not (data_root() / settings.images).is_dir():
        return wanted
    evaluated = [sample.path for sample in dataset_from_settings(settings, data_root()).samples]
    kept = without(wanted, evaluated)
    if not kept:
        raise BuildError(
            "precision",
            f"all {len(wanted)} calibration photos are among those that {order.recipe.folder / FILE} evaluates on; "
            "calibrate on others, or the evaluation says too much",
        )
    return kept


def _wanted_for_calibration(order: Order, progress: Progress) -> tuple[Path, ...]:
    if order.calibration is not None:
        return photos_from_patterns([str(order.calibration)], Path.cwd(), "precision")
    if order.precision == "int8" and order.recipe.calibration is None:
        raise BuildError(
            "precision",
            "int8 needs photos like those that will be served to take its scales from: give --calibration FOLDER, or "
            f"calibration.images in {order.recipe.folder / FILE}",
        )
    if order.precision == "fp32" or order.recipe.calibration is None:
        return ()
    try:
        return photos_from_patterns(order.recipe.calibration.images, data_root(), "precision")
    except BuildError as exc:
        if order.precision == "int8":
            raise
        with progress.step("precision") as step:
            step.note(f"{exc.detail.removeprefix('precision: ')}; fp16 is measured on the parity photos instead")
        return ()


def _probes(photos: Sequence[Path], progress: Progress) -> list[Probe]:
    """The first few; every other is decoded once as well, before the long steps."""
    probes = []
    with progress.step("read") as step:
        step.total(len(photos))
        for number, path in enumerate(photos):
            try:
                image = photo_from_path(path)
            except BuildError as exc:
                raise BuildError(
                    "read",
                    f"{exc.detail.removeprefix(f'{exc.step}: ')}; it is one of those for parity: remove or replace it",
                ) from exc
            if number < PROBE_PHOTOS:
                probes.append(Probe(path.name, image))
            step.advance(path.name)
    return probes


def _feeds(calibration: Sequence[Path], photos: Sequence[Path], contract: Contract) -> Calibration:
    """What a conversion is measured on: the calibration photos, or those parity photos that the steps take."""
    if calibration:
        return calibration_from_photos(calibration, contract)
    return Calibration([photo for photo in photos if _is_taken(photo, contract)], contract)


def _is_taken(photo: Path, contract: Contract) -> bool:
    try:
        Preprocessor(contract)(photo_from_path(photo))
    except InvalidImage:
        return False
    return True
