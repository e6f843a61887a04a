"""`predict`: what is on photos."""

import argparse
import glob
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from clients.commands.arguments import add_gateway, add_model, add_output, asked_of, one_or_more
from clients.commands.output import Results, failed
from clients.commands.pictures import SUFFIXES, write_picture
from clients.folders import photos_in
from clients.gateway_sync import GatewayClient
from clients.results import Result
from vision.errors import BackendUnavailable, DeadlineExceeded, JetserveError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("predict", help="what is on photos")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="a file, a folder, or a pattern like 'in/**/*.jpg'")
    add_model(parser)
    parser.add_argument("--save", type=_save, metavar="OUT", help="write the picture here: .jpg, .png, or a folder")
    parser.add_argument(
        "--concurrency", type=one_or_more, default=4, metavar="N", help="photos under way at once (%(default)d)"
    )
    add_gateway(parser)
    add_output(parser)
    parser.set_defaults(command=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """1 when a photo failed."""
    for given in options.photos:
        if "://" in given:
            options.parser.error(
                f"argument PHOTO: {given} is an address, and nothing is fetched: photos are files. Download it first"
            )
    photos = [photo for given in options.photos for photo in _photos(given)]
    if len(photos) > 1 and options.save and options.save.suffix:
        options.parser.error(f"argument --save: {options.save} is one file, for {len(photos)} photos; give a folder")
    targets = _targets(photos, options.save)
    if (lost := _overwritten(photos, targets)) is not None:
        options.parser.error(f"argument --save: {lost} is one of the photos; give another name, or a folder of its own")
    failures = 0
    results = Results(options.output, "photo")
    with GatewayClient(options.url, options.timeout, headers=options.headers) as client:
        answers = client.predict_many(
            photos,
            options.model,
            concurrency=options.concurrency,
            progress=len(photos) > 1 and sys.stderr.isatty() and not sys.stdout.isatty(),
            on_error="return",
            **asked_of(options),
        )
        with closing(answers):
            for photo, target, answer in zip(photos, targets, answers, strict=True):
                try:
                    _show(photo, answer, target, results)
                except (BackendUnavailable, DeadlineExceeded):
                    raise  # the next photo would fare no better
                except BrokenPipeError:
                    raise
                except (JetserveError, OSError) as exc:
                    failures += failed(exc, photo)
    return 1 if failures else 0


def _show(photo: Path, answer: Result | JetserveError | OSError, target: Path | None, results: Results) -> None:
    if not isinstance(answer, Result):
        raise answer
    if target is not None:
        write_picture(target, answer.draw(photo))
    results.write(str(photo), answer)


def _photos(given: str) -> list[Path]:
    """The files that are meant; what is not there is a file that cannot be read, when its turn comes."""
    path = Path(given)
    if path.is_dir():
        return photos_in(path)
    if not path.exists() and glob.has_magic(given):
        fitting = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if found := [path for path in map(Path, fitting) if path.is_file()]:
            return found
        raise FileNotFoundError(f"there is no file that fits {given}")
    return [path]


def _targets(photos: list[Path], save: Path | None) -> list[Path | None]:
    """The file that each photo's picture goes to: `save` itself, or for several photos, one of its own below it."""
    if save is None:
        return [None] * len(photos)
    if len(photos) == 1 and save.suffix:
        return [save]
    targets: dict[Path, None] = {}
    for photo in photos:
        names = (photo.stem if number == 1 else f"{photo.stem}-{number}" for number in count(1))
        targets[next(path for name in names if (path := save / f"{name}.jpg") not in targets)] = None
    return list(targets)


def _overwritten(photos: list[Path], targets: Sequence[Path | None]) -> Path | None:
    """The first target that is one of the photos, by whatever name."""
    files = {photo.resolve() for photo in photos}
    return next((target for target in targets if target is not None and target.resolve() in files), None)


def _save(value: str) -> Path:
    path = Path(value)
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{value} must end in {', '.join(SUFFIXES)}, or be a folder")
    return path
