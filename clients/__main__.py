"""`python -m clients`: ask a gateway, from a shell."""

import argparse
import asyncio
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from rich.console import Console

from clients.gateway import DEFAULT_URL, GatewayClient
from clients.results import Result
from clients.tables import show_models, show_result
from vision.errors import BackendFailure, BackendUnavailable, DeadlineExceeded, JetserveError, UnknownModel

if TYPE_CHECKING:
    from clients.triton import TritonClient

DEFAULT_TRITON = "127.0.0.1:8001"
PICTURE_TYPES: dict[str, Literal["image/jpeg", "image/png"]] = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}


def main(arguments: list[str] | None = None) -> int:
    """0 when all went well, 1 when something failed, 2 for a wrong command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is _predict and len(options.photos) > 1 and options.save and options.save.suffix:
        parser.error(f"argument --save: {options.save} is one file, for {len(options.photos)} photos; give a folder")
    try:
        status = _done(options)
        sys.stdout.flush()
    except BrokenPipeError:  # as by `| head -1`: whoever read has enough
        # What is left is written when Python ends, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells have it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT
    return status


def _done(options: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        raise
    except (JetserveError, OSError) as exc:
        return _failed(exc)


class _Console(Console):
    """Rich ends the program itself, with 1, where nobody reads on."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _predict(options: argparse.Namespace) -> int:
    console, failures = _Console(), 0
    with GatewayClient(options.url, options.timeout) as client:
        for photo, target in _targets(options.photos, options.save):
            try:
                result = client.predict(photo, options.model, **_asked(options))
                if target is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(_picture(client, photo, target, options))
            except (BackendUnavailable, DeadlineExceeded):
                raise  # the next photo would fare no better
            except (JetserveError, OSError) as exc:
                failures += _failed(exc, photo)
            else:
                _show(result, options.json, console)
    return 1 if failures else 0


def _models(options: argparse.Namespace) -> int:
    with GatewayClient(options.url, options.timeout) as client:
        models = client.models()
    if options.json:
        for model in models:
            _say(model.model_dump_json())
    else:
        show_models(models, _Console())
    return 0


def _control(options: argparse.Namespace) -> int:
    try:
        from clients.triton import TritonClient  # only these two need gRPC
    except ImportError as exc:
        _complain(f"{options.action} needs Triton's client ({exc}): install jetserve with its `triton` extra")
        return 1

    async def control() -> None:
        async with TritonClient(options.triton) as triton:
            await (triton.load(options.name) if options.action == "load" else _unload(triton, options.name))

    asyncio.run(control())
    _say(f"{options.name}: {options.action}ed")
    return 0


async def _unload(triton: "TritonClient", name: str) -> None:
    """Unload a model that is there: to Triton a name that it never heard is no error."""
    with suppress(BackendFailure):  # a repository that cannot be listed is no reason not to unload
        if name not in {model.name for model in await triton.models()}:
            raise UnknownModel(f"there is no model {name!r} in the repository of {triton.address}")
    await triton.unload(name)


def _targets(photos: list[Path], save: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Each photo and the file its picture goes to: `save` itself, or for several photos, below it."""
    named: Counter[str] = Counter()
    for photo in photos:
        if save is None:
            yield photo, None
        elif len(photos) == 1 and save.suffix:
            yield photo, save
        else:
            named[photo.stem] += 1
            again = f"-{named[photo.stem]}" if named[photo.stem] > 1 else ""
            yield photo, save / f"{photo.stem}{again}.jpg"


def _picture(client: GatewayClient, photo: Path, target: Path, options: argparse.Namespace) -> bytes:
    return client.annotated(photo, options.model, PICTURE_TYPES[target.suffix.lower()], **_asked(options))


class _Asked(TypedDict):
    score_threshold: float | None
    top_k: int | None
    max_detections: int | None


def _asked(options: argparse.Namespace) -> _Asked:
    return _Asked(score_threshold=options.score_threshold, top_k=options.top_k, max_detections=options.max_detections)


def _show(result: Result, as_json: bool, console: Console) -> None:
    if as_json:
        _say(result.model_dump_json(exclude_none=True))
    else:
        show_result(result, console)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _failed(error: Exception, photo: Path | None = None) -> int:
    name = f"{photo}: " if photo is not None and not isinstance(error, OSError) else ""
    _complain(f"{name}{error}")
    return 1


def _complain(line: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"python -m clients: {line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clients", description="Ask a jetserve gateway.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="what is on photos")
    predict.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    predict.add_argument("--model", required=True)
    predict.add_argument("--save", type=_save, metavar="OUT", help="write the picture here: .jpg, .png, or a folder")
    predict.add_argument("--score-threshold", type=float, help="kept are scores above it")
    predict.add_argument("--top-k", type=int, help="how many classes, of a classifier")
    predict.add_argument("--max-detections", type=int, help="how many objects, of a detector")
    predict.set_defaults(command=_predict)

    models = commands.add_parser("models", help="the models there are")
    models.set_defaults(command=_models)
    for command in (predict, models):
        command.add_argument("--url", default=DEFAULT_URL, help="the gateway's address (%(default)s)")
        command.add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="(%(default)g)")
        command.add_argument("--json", action="store_true", help="one line of JSON each")

    for action in ("load", "unload"):
        control = commands.add_parser(action, help=f"have Triton {action} a model")
        control.add_argument("name", metavar="NAME")
        control.add_argument("--triton", default=DEFAULT_TRITON, metavar="HOST:PORT", help="its gRPC (%(default)s)")
        control.set_defaults(command=_control, action=action)
    return parser


def _seconds(value: str) -> float:
    with suppress(ValueError):
        if math.isfinite(seconds := float(value)) and seconds > 0:
            return seconds
    raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds above 0")


def _save(value: str) -> Path:
    path = Path(value)
    if path.suffix and path.suffix.lower() not in PICTURE_TYPES:
        raise argparse.ArgumentTypeError(f"{value} must end in {', '.join(PICTURE_TYPES)}, or be a folder")
    return path


if __name__ == "__main__":
    sys.exit(main())
