"""Serving settings in `config.pbtxt`: laid over what a version was published with, and kept over later versions.

They stand in the served `config.pbtxt` itself, in a parameter that Triton carries and nobody reads but this module: so
one rename changes them, like everything that is served.
"""

import re

from builder.publishing.served_config import PARAMETER, unquoted
from builder.publishing.triton_config import batching, parameter
from vision.errors import BuildError, InvalidArgument
from vision.serving import THREADS_PARAMETERS, ServingSettings

KEY = "serving"
INSTANCES = re.compile(r"^(instance_group \{ count: )(\d+)", re.MULTILINE)
BATCHING = re.compile(r"^dynamic_batching \{.*\}$", re.MULTILINE)
MAX_BATCH = re.compile(r"^max_batch_size: (\d+)$", re.MULTILINE)


def settings_of(config: bytes) -> ServingSettings:
    """What is set in a `config.pbtxt` beside what its version was published with.

    Raises:
        BuildError: the parameter that holds it was written by somebody else.
    """
    text = _parameters(config.decode(errors="replace")).get(KEY)
    try:
        return ServingSettings() if text is None else ServingSettings.from_json(text)
    except InvalidArgument as exc:
        raise BuildError(
            "read", f"config.pbtxt has a parameter {KEY!r} that this builder did not write: {exc}"
        ) from exc


def published_settings(config: bytes) -> ServingSettings:
    """What stands in the `config.pbtxt` of a version: every setting that it has."""
    text = config.decode()
    given: dict[str, object] = {}
    if found := INSTANCES.search(text):
        given["instances"] = int(found[2])
    if found := BATCHING.search(text):
        sizes = re.search(r"preferred_batch_size: \[([\d, ]+)\]", found[0])
        delay = re.search(r"max_queue_delay_microseconds: (\d+)", found[0])
        given["preferred_batch"] = tuple(map(int, sizes[1].split(","))) if sizes else ()
        given["queue_delay_us"] = int(delay[1]) if delay else 0
    parameters = _parameters(text)
    if name := _threads_of(parameters):
        given["threads"] = int(parameters[name])
    return ServingSettings.model_validate(given)


def with_settings(config: bytes, settings: ServingSettings) -> bytes:
    """A version's own `config.pbtxt` with settings laid over it. Those that it does not take wait for one that does."""
    if settings.is_empty:
        return config
    text = config.decode()
    max_batch = MAX_BATCH.search(text)
    parameters = _parameters(text)
    now = settings.fitting(parameters, int(max_batch[1]) if max_batch else 0).set_over(published_settings(config))
    text = INSTANCES.sub(rf"\g<1>{now.instances}", text)
    text = BATCHING.sub(batching(now.preferred_batch or (), now.queue_delay_us or 0), text)
    if name := _threads_of(parameters):
        text = text.replace(parameter(name, parameters[name]), parameter(name, str(now.threads)))
    return f"{text}{parameter(KEY, settings.to_json())}\n".encode()


def check(name: str, config: bytes, settings: ServingSettings) -> None:
    """Nothing where a version takes all of them.

    Raises:
        InvalidArgument
    """
    text = config.decode()
    max_batch = MAX_BATCH.search(text)
    settings.check(name, _parameters(text), int(max_batch[1]) if max_batch else 0)


def _parameters(text: str) -> dict[str, str]:
    return {
        unquoted(found[1]): unquoted(found[2]) for line in text.splitlines() if (found := PARAMETER.fullmatch(line))
    }


def _threads_of(parameters: dict[str, str]) -> str | None:
    return next((name for name in THREADS_PARAMETERS if name in parameters), None)
