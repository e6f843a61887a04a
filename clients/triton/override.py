"""Serving settings in a ModelConfig of Triton's, for as long as the model is not loaded again.

A configuration with settings laid over it remembers what it was: Triton, asked to load a model whose folder has not
changed, keeps the last configuration that it was given.
"""

from typing import Any

from vision.serving import THREADS_PARAMETERS, ServingSettings

KEY = "serving_before"


def settings_of(config: Any) -> ServingSettings:
    """Every setting that a configuration has; where batches are concerned, with what Triton filled in."""
    name = _threads_of(config)
    batching = config.dynamic_batching if config.HasField("dynamic_batching") else None
    return ServingSettings.of(
        instances=sum(group.count for group in config.instance_group) or None,
        threads=None if name is None else int(config.parameters[name].string_value),
        preferred_batch=None if batching is None else tuple(batching.preferred_batch_size),
        queue_delay_us=None if batching is None else batching.max_queue_delay_microseconds,
    )


def with_settings(name: str, published: Any, settings: ServingSettings) -> Any:
    """The configuration of model `name` with settings over it; `published` is one that is as it was published.

    Raises:
        InvalidArgument: the model does not take one of them.
    """
    is_batched = published.HasField("dynamic_batching")
    settings.check(name, published.parameters, published.max_batch_size if is_batched else 0)
    config = _copy(published)
    _apply(config, settings)
    config.parameters[KEY].string_value = settings_of(published).to_json()
    return config


def without(config: Any) -> Any:
    """The configuration as it was before settings were laid over it; itself where none were."""
    if KEY not in config.parameters:
        return config
    published = _copy(config)
    _apply(published, ServingSettings.from_json(config.parameters[KEY].string_value))
    del published.parameters[KEY]
    return published


def _apply(config: Any, settings: ServingSettings) -> None:
    if settings.instances is not None:
        del config.instance_group[1:]
        config.instance_group[0].count = settings.instances
    name = _threads_of(config)
    if settings.threads is not None and name is not None:
        config.parameters[name].string_value = str(settings.threads)
    if settings.preferred_batch is not None:
        config.dynamic_batching.preferred_batch_size[:] = settings.preferred_batch
    if settings.queue_delay_us is not None:
        config.dynamic_batching.max_queue_delay_microseconds = settings.queue_delay_us


def _copy(config: Any) -> Any:
    copy = type(config)()
    copy.CopyFrom(config)
    return copy


def _threads_of(config: Any) -> str | None:
    return next((name for name in THREADS_PARAMETERS if name in config.parameters), None)
