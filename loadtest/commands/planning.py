"""Options that say a plan, or change one."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clients.headers import headers_from_texts, merged
from loadtest.load import loads_from_text
from loadtest.models import models_from_text
from loadtest.plan import Plan, plan_from_values, values_from_file
from vision.errors import InvalidArgument

DEFAULT_SECONDS = 30.0
PLAIN = (
    *("name", "host", "transport", "template", "images", "arrivals", "processes", "seed", "slo", "gateway", "triton"),
    *("think_s", "timeout_s", "max_in_flight"),
)
"""Options that are a plan's field of the same name."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN.toml", help="a plan; flags change what it says")
    whom = parser.add_argument_group("whom, and about what")
    whom.add_argument(
        "--host", metavar="URL", help="the gateway's (http://127.0.0.1:8080); host:port of gRPC and Triton"
    )
    whom.add_argument("--transport", choices=("http", "grpc", "triton", "template"), help="http")
    whom.add_argument("--template", metavar="FILE", help="how another server is asked; bentoml, litserve, … come along")
    add_headers(whom)
    whom.add_argument("--model", metavar="NAME[:WEIGHT],…", help="balloon:3,fruit:1; by default all that are ready")
    whom.add_argument("--images", metavar="FOLDER", help="or made:640x480x8, which are made on the spot")
    whom.add_argument("--gateway", metavar="URL", help='whose /metrics are read, where --host is another; "" for none')
    whom.add_argument("--triton", metavar="HOST:PORT,…", help="whose statistics are read; dns:///NAME:PORT")
    load = parser.add_argument_group("the load")
    load.add_argument("--users", type=int, metavar="N", help="a closed loop")
    load.add_argument("--rate", type=float, metavar="R", help="an open loop: requests a second, by the clock")
    load.add_argument("--seconds", type=float, metavar="S", help="of --users or --rate (30)")
    load.add_argument("--stages", metavar="LOAD:TIME,…", help="8:30s is 8 users, 50/s:2m a rate; several in turn")
    load.add_argument("--steps", metavar="FROM..TO[xF]", help="10/s..400/sx1.25: rising until the server is saturated")
    load.add_argument("--step-seconds", type=float, default=10.0, metavar="S", help="of each step (%(default)g)")
    load.add_argument("--arrivals", choices=("constant", "poisson"), help="of a rate")
    load.add_argument("--think", dest="think_s", type=float, metavar="S", help="what a user waits between requests")
    load.add_argument("--timeout", dest="timeout_s", type=float, metavar="S", help="of a request (30)")
    load.add_argument("--max-in-flight", type=int, metavar="N", help="of an open loop (1000); beyond it not_sent")
    load.add_argument("--processes", type=int, metavar="N", help="of the generator (1)")
    load.add_argument("--seed", type=int, help="of models, photos and arrivals")
    load.add_argument("--warm-up", type=float, metavar="S", help="at most so long (30); 0 is none")
    parser.add_argument("--slo", metavar="OBJECTIVE", help="p99<50ms,errors<0.1%%,rate>=60: sets the exit status")
    parser.add_argument("--name", help="the beginning of the record's name")


def add_headers(parser: "argparse._ActionsContainer") -> None:
    """Add `--header`."""
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME: VALUE",
        help="of every request; again for another. 'Authorization: Bearer {env:TOKEN}', '{file:PATH}' keep secrets out"
        " of command lines; records never have them",
    )  # fmt: skip


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan, as the flags change it.

    Raises:
        InvalidArgument: what is wrong with it.
    """
    values: dict[str, Any] = {} if options.plan is None else values_from_file(options.plan)
    given = {name: value for name in PLAIN if (value := getattr(options, name)) is not None}
    if options.header and _is_table(values, "headers"):
        given["headers"] = merged(values.get("headers", {}), headers_from_texts(options.header))
    if options.model is not None:
        given["models"] = models_from_text(options.model)
    if options.template is not None:
        given["transport"] = "template"
    if options.warm_up is not None and _is_table(values, "warm_up"):
        least = min(options.warm_up, values.get("warm_up", {}).get("at_least_s", 2.0))
        given["warm_up"] = values.get("warm_up", {}) | {"at_most_s": options.warm_up, "at_least_s": least}
    shape = _shape(options)
    if shape:
        values = {name: value for name, value in values.items() if name not in ("stages", "steps", "spike")}
    elif options.seconds is not None:
        raise InvalidArgument("--seconds goes with --users or --rate")
    return plan_from_values(values | given | shape, "plan" if options.plan is None else str(options.plan))


def _is_table(values: Mapping[str, Any], name: str) -> bool:
    """Or not there; what is something else is left to the plan, which says so."""
    return isinstance(values.get(name, {}), Mapping)


def _shape(options: argparse.Namespace) -> dict[str, Any]:
    said = [name for name in ("users", "rate", "stages", "steps") if getattr(options, name) is not None]
    if len(said) > 1:
        raise InvalidArgument(f"give one of {', '.join(f'--{name}' for name in said)}")
    seconds = DEFAULT_SECONDS if options.seconds is None else options.seconds
    if options.users is not None:
        return {"stages": [{"users": options.users, "seconds": seconds}]}
    if options.rate is not None:
        return {"stages": [{"rate_per_s": options.rate, "seconds": seconds}]}
    if options.stages is not None:
        return {"stages": [load.model_dump(exclude_none=True) for load in loads_from_text(options.stages)]}
    return {} if options.steps is None else {"steps": _steps(options.steps, options.step_seconds)}


def _steps(text: str, seconds: float) -> dict[str, Any]:
    first, dots, rest = text.partition("..")
    most, _, factor = rest.partition("x")
    of = "rate" if first.endswith("/s") else "users"
    try:
        figures = {"first": float(first.removesuffix("/s")), "most": float(most.removesuffix("/s"))}
        figures |= {"factor": float(factor)} if factor else {}
    except ValueError:
        figures = {}
    if not dots or not figures:
        raise InvalidArgument(f"expected steps as 1..64x2 (users) or 10/s..400/sx1.25 (rates), got {text!r}")
    return {"of": of, "seconds": seconds, **figures}
