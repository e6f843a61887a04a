"""`load` and `unload`: have Triton load or unload a model."""

import argparse
import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from clients.addresses import DEFAULT_TRITON
from clients.commands.output import complain, say
from vision.errors import BackendFailure, UnknownModel

if TYPE_CHECKING:
    from clients.triton import TritonClient


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    for action in ("load", "unload"):
        parser = commands.add_parser(action, help=f"have Triton {action} a model")
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--triton", default=DEFAULT_TRITON, metavar="HOST:PORT", help="its gRPC (%(default)s)")
        parser.set_defaults(command=run, action=action)


def run(options: argparse.Namespace) -> int:
    """0; what fails is raised."""
    try:
        from clients.triton import TritonClient  # only these two need gRPC
    except ImportError as exc:
        complain(f"{options.action} needs Triton's client ({exc}): install jetserve with its `triton` extra")
        return 1

    async def control() -> None:
        async with TritonClient(options.triton) as triton:
            await (triton.load(options.name) if options.action == "load" else _unload(triton, options.name))

    asyncio.run(control())
    say(f"{options.name}: {options.action}ed")
    return 0


async def _unload(triton: "TritonClient", name: str) -> None:
    """Unload a model that is there: to Triton a name that it never heard is no error."""
    with suppress(BackendFailure):  # a repository that cannot be listed is no reason not to unload
        if name not in {model.name for model in await triton.models()}:
            raise UnknownModel(f"there is no model {name!r} in the repository of {triton.address}")
    await triton.unload(name)
