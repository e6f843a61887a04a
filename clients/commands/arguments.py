"""What several commands are given."""

import argparse
import math
from contextlib import suppress
from typing import Any, TypedDict

from clients.addresses import DEFAULT_URL
from clients.headers import header_from_text, merged, sendable, with_secrets
from vision.errors import InvalidArgument


class Asked(TypedDict):
    """What may be asked for beside the answer; None leaves it to the model's contract."""

    score_threshold: float | None
    top_k: int | None
    max_detections: int | None


def add_gateway(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=DEFAULT_URL, help="the gateway's address (%(default)s)")
    parser.add_argument("--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for an answer (%(default)g)")
    parser.add_argument(
        "--header",
        action=_Header,
        default={},
        dest="headers",
        metavar="'NAME: VALUE'",
        help="of every request; a secret as {env:NAME} or {file:PATH}; several: the flag again",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="its name; `models` lists them")
    parser.add_argument("--score-threshold", type=float, metavar="SCORE", help="kept are scores above it")
    parser.add_argument("--top-k", type=int, metavar="N", help="how many classes, of a classifier")
    parser.add_argument("--max-detections", type=int, metavar="N", help="how many objects, of a detector")


def add_output(parser: argparse.ArgumentParser, default: str | None = "table") -> None:
    parser.add_argument(
        "--output",
        choices=("table", "jsonl", "csv"),
        default=default,
        help="table, tabs between columns in a pipe; jsonl, a line of JSON each; csv, with a line of names",
    )
    parser.add_argument("--json", action="store_const", const="jsonl", dest="output", help="the same as --output jsonl")


def asked_of(options: argparse.Namespace) -> Asked:
    return Asked(score_threshold=options.score_threshold, top_k=options.top_k, max_detections=options.max_detections)


class _Header(argparse.Action):
    """Adds to those before it, with the secret in its place."""

    def __call__(self, _: object, options: argparse.Namespace, text: Any, __: object = None) -> None:
        try:
            options.headers = merged(options.headers, sendable(with_secrets(header_from_text(text))))
        except InvalidArgument as exc:
            raise argparse.ArgumentError(self, exc.detail) from exc


def seconds(value: str) -> float:
    """A time above 0."""
    with suppress(ValueError):
        if math.isfinite(given_s := float(value)) and given_s > 0:
            return given_s
    raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds above 0")


def one_or_more(value: str) -> int:
    """A whole number from 1."""
    if value.isdecimal() and int(value) >= 1:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of 1 or more")


def none_or_more(value: str) -> int:
    """A whole number from 0."""
    if value.isdecimal():
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of 0 or more")
