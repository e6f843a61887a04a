"""`load` and `unload`: have Triton, or several, load or unload a model; `load` also with settings, for a while."""

import argparse
import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from clients.addresses import DEFAULT_TRITON, DNS, DnsName, looked_up, tritons_from_text
from clients.commands.arguments import none_or_more, one_or_more
from clients.commands.output import complain, say
from vision.errors import BackendFailure, JetserveError, UnknownModel
from vision.serving import ServingSettings, batch_sizes

if TYPE_CHECKING:
    from clients.triton.client import TritonClient


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    load = commands.add_parser(
        "load",
        help="have Triton load a model",
        description="Have Triton load a model, or load it again with what its folder now holds. Settings count until"
        " it is loaded again, or Triton restarts; to keep them: python -m builder configure.",
    )
    unload = commands.add_parser("unload", help="have Triton unload a model")
    for action, parser in {"load": load, "unload": unload}.items():
        parser.add_argument("name", metavar="NAME")
        where = f"its gRPC (%(default)s); several with commas between, or {DNS}NAME:PORT: each in turn"
        parser.add_argument("--triton", type=_tritons, default=DEFAULT_TRITON, metavar="HOST:PORT", help=where)
        parser.set_defaults(command=run, action=action)
    add = load.add_argument
    add("--instances", type=one_or_more, metavar="N", help="copies that run side by side")
    add("--threads", type=none_or_more, metavar="N", help="cores a copy may use; 0 is all")
    add("--preferred-batch", type=batch_sizes, metavar="4,8", help="batches to run as soon as they are full")
    add("--queue-delay-us", type=none_or_more, metavar="N", help="microseconds to wait for others to make up a batch")


def run(options: argparse.Namespace) -> int:
    """0; of one Triton what fails is raised, of several it is told, and the others are done all the same: 1."""
    try:
        from clients.triton.client import TritonClient  # only these two need gRPC
    except ImportError as exc:
        complain(f"{options.action} needs Triton's client ({exc}): install jetserve with its `triton` extra")
        return 1

    async def control(address: str) -> str:
        async with TritonClient(address) as triton:
            return await (_load if options.action == "load" else _unload)(triton, options)

    addresses = looked_up(options.triton)
    if len(addresses) == 1:
        say(asyncio.run(control(addresses[0])))
        return 0
    statuses = []
    for address in addresses:  # in turn: while one loads, the others answer
        try:
            say(f"{address}: {asyncio.run(control(address))}")
            statuses.append(0)
        except JetserveError as exc:
            complain(f"{address}: {exc.detail}")
            statuses.append(1)
    return max(statuses)


def _tritons(text: str) -> tuple[str, ...] | DnsName:
    try:
        return tritons_from_text(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


async def _load(triton: "TritonClient", options: argparse.Namespace) -> str:
    settings = ServingSettings.of(**{name: getattr(options, name) for name in ServingSettings.model_fields})
    await triton.load(options.name, settings)
    if settings.is_empty:
        return f"{options.name}: loaded"
    told = ", ".join(f"{name} {value}" for name, value in (await triton.serving(options.name)).told().items())
    return f"{options.name}: loaded, until the next load with {told}"


async def _unload(triton: "TritonClient", options: argparse.Namespace) -> str:
    """Unload a model that is there: to Triton a name that it never heard is no error."""
    with suppress(BackendFailure):  # a repository that cannot be listed is no reason not to unload
        if options.name not in {model.name for model in await triton.models()}:
            raise UnknownModel(f"there is no model {options.name!r} in the repository of {triton.address}")
    await triton.unload(options.name)
    return f"{options.name}: unloaded"
