"""`models`: the models there are."""

import argparse

from clients.commands.arguments import add_gateway, add_output
from clients.commands.output import TerminalConsole, say, say_csv
from clients.gateway_sync import GatewayClient
from clients.tables import show_models

COLUMNS = ("model", "version", "ready", "problem", "task", "height", "width", "max_batch", "precision", "labels")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("models", help="the models there are")
    add_gateway(parser)
    add_output(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """0; what fails is raised."""
    with GatewayClient(options.url, options.timeout, headers=options.headers) as client:
        models = client.models()
    if options.output == "jsonl":
        for model in models:
            say(model.model_dump_json())
    elif options.output == "csv":
        say_csv([COLUMNS])
        for model in models:
            say_csv(
                [
                    (
                        model.name,
                        model.version,
                        "yes" if model.ready else "no",
                        model.problem,
                        model.task,
                        *(model.input_size_hw or (None, None)),
                        model.max_batch,
                        model.precision,
                        ", ".join(model.labels or ()),
                    )
                ]
            )
    else:
        show_models(models, TerminalConsole())
    return 0
