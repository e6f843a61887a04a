"""What the locustfile takes beside Locust's own options."""

import argparse
from collections.abc import Callable

from locust.argument_parser import LocustArgumentParser

from clients.addresses import DEFAULT_TRITON
from loadtest import images
from loadtest.load import loads_from_text
from loadtest.models import models_from_text
from vision.errors import InvalidArgument

TRANSPORTS = ("http", "grpc", "triton", "template")


def add(parser: LocustArgumentParser) -> None:
    """Add them."""
    group = parser.add_argument_group("jetserve")
    group.add_argument(
        "--model",
        type=_as(models_from_text),
        default="",
        metavar="NAME[:WEIGHT],…",
        help="Which models are asked, and how often: balloon:3,fruit:1. By default all that are ready, equally often",
    )
    group.add_argument(
        "--images",
        default=images.DEFAULT,
        metavar="FOLDER",
        help="Photos to ask about, or made:WIDTHxHEIGHTxCOUNT for ones that are made on the spot (%(default)s)",
    )
    group.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="http",
        help="http: the gateway's /v1. grpc: the gateway's Open Inference Protocol; --host is its 127.0.0.1:8081."
        f" triton: Triton itself with pixels that are ready, the floor; --host is {DEFAULT_TRITON}."
        " template: anybody's HTTP, see --template",
    )
    group.add_argument("--template", default="", metavar="FILE", help="How to ask another server: loadtest/templates")
    group.add_argument("--think", type=float, default=0.0, metavar="S", help="What a user waits between requests")
    group.add_argument(
        "--stages",
        type=_as(loads_from_text),
        default="",
        metavar="LOAD:TIME,…",
        help="Instead of -u and -t: 8:30s is 8 users, 50/s:2m is a rate (open loop: requests are due by the clock and"
        " their latency counts from then); several follow one another: 20/s:30s,100/s:5s,20/s:30s is a spike",
    )
    group.add_argument("--arrivals", choices=("constant", "poisson"), default="constant", help="Of a rate")
    group.add_argument(
        "--max-in-flight", type=int, default=1000, metavar="N", help="Beyond it requests fail as not_sent (%(default)s)"
    )
    group.add_argument("--timeout", type=float, default=30.0, metavar="S", help="Of a request (%(default)s)")
    group.add_argument("--seed", type=int, default=0, help="Of models, photos and arrivals")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        include_in_web_ui=False,
        help="Of every request; again for another. 'Authorization: Bearer {env:TOKEN}' and '{file:PATH}' keep secrets"
        " out of command lines",
    )
    # The next are for `python -m loadtest run`, which starts this as its child.
    for name in ("--samples", "--timetable"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS, include_in_web_ui=False)
    parser.add_argument("--headers-from", type=int, default=-1, help=argparse.SUPPRESS, include_in_web_ui=False)
    for name in ("--open-loop", "--ends-with-stdin", "--stays"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS, include_in_web_ui=False)


def _as(read: Callable[[str], object]) -> Callable[[str], str]:
    """The text itself, seen to be one that can be read: Locust sends options to its processes as plain values."""

    def seen(text: str) -> str:
        try:
            if text:
                read(text)
        except InvalidArgument as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return text

    return seen
