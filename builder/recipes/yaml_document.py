"""YAML as it is written by hand: a key that stands twice is a mistake, not the last one's victory."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Plain values only, as `yaml.safe_load`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{key.value!r} stands in line {seen[key.value]} and again in line {key.start_mark.line + 1}: "
                    "keep one of them",
                    key.start_mark,
                )
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def document_from_yaml(text: str) -> Any:
    """The values.

    Raises:
        ValueError: no YAML of plain values, a key twice, or lists within each other beyond all reason.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc
