"""`configure`: how Triton is to run a model that is published; without options, what is set."""

import argparse
from pathlib import Path

from builder.commands.numbers import between
from builder.commands.output import show_table
from builder.progress import say
from builder.publishing.repository import CONFIG, reconfigure, served_version
from builder.publishing.settings import check, published_settings, settings_of, with_settings
from vision.errors import BuildError
from vision.serving import MAX_INSTANCES, MAX_QUEUE_DELAY_US, MAX_THREADS, ServingSettings, batch_sizes

COLUMNS = ("setting", "published with", "set", "served")
NAMES = tuple(ServingSettings.model_fields)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "configure",
        help="instances, threads, batches and queue delay of a published model",
        description="Set how Triton runs a model: for the version that is served and for those after it, until it is"
        " set otherwise. Without options: what is set. No version is published, and nothing that is answered changes.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("name", metavar="NAME", help="the model")
    add("--instances", type=between(1, MAX_INSTANCES), metavar="N", help="copies that run side by side")
    add("--threads", type=between(0, MAX_THREADS), metavar="N", help="cores a copy may use; 0 is all")
    add(
        "--preferred-batch",
        type=batch_sizes,
        metavar="4,8",
        help="batches to run as soon as they are full, in images; `none`: the largest there may be",
    )
    add(
        "--queue-delay-us",
        type=between(0, MAX_QUEUE_DELAY_US),
        metavar="N",
        help="microseconds a request may wait for others to make up a batch",
    )
    add("--reset", action="store_true", help="first forget what was set: as the version was published")
    add("--repository", type=Path, default=Path("model_repository"), help="where it lies (%(default)s)")


def run(options: argparse.Namespace) -> int:
    given = ServingSettings.of(**{name: getattr(options, name) for name in NAMES})
    if given.is_empty and not options.reset:
        _show(options.repository, options.name)
        return 0

    def config_of(model: Path) -> bytes:
        published = _published(model)
        before = ServingSettings() if options.reset else settings_of((model / CONFIG).read_bytes())
        check(options.name, published, given)
        return with_settings(published, given.set_over(before))

    reconfigure(options.repository, options.name, config_of)
    _show(options.repository, options.name)
    say("", f"Triton takes it when it is told to: python -m clients load {options.name}")
    return 0


def _show(repository: Path, name: str) -> None:
    model = repository / name
    published = _published(model)
    config = (model / CONFIG).read_bytes()
    columns = [of.told() for of in (published_settings(published), settings_of(config), published_settings(config))]
    show_table(COLUMNS, [(name, *(column.get(name) for column in columns)) for name in NAMES])


def _published(model: Path) -> bytes:
    """The `config.pbtxt` that the served version was published with.

    Raises:
        BuildError: there is no such model.
    """
    version = served_version(model)
    if version is None:
        raise BuildError("read", f"{model.parent} holds no model {model.name!r}")
    return (model / str(version) / CONFIG).read_bytes()
