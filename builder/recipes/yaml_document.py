"""YAML as it is written by hand: a key that stands twice is a mistake, not the last one's victory."""

import json
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

MAX_GROWTH = 2**20
"""Characters and values that aliases (`*name`) may add: a few lines of them can stand for more than any memory."""


class _Loader(yaml.SafeLoader):
    """Plain values only, as `yaml.safe_load`."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _size(node, {}) - sum(map(_own_size, _nodes(node))) > MAX_GROWTH:
            raise yaml.composer.ComposerError(
                None,
                None,
                f"its aliases (*name) make it grow by more than {MAX_GROWTH} characters: write out what is meant",
                node.start_mark,
            )
        return node

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


def document_from_yaml(text: str) -> tuple[Any, str]:
    """The values, and the same as JSON, where a list is a tuple to pydantic even strictly.

    Raises:
        ValueError: no YAML of plain values, a key twice, lists within each other beyond all reason, or aliases that
            stand for more than `MAX_GROWTH`.
    """
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        return document, json.dumps(document)
    except (yaml.YAMLError, TypeError) as exc:
        raise ValueError(str(exc)) from exc
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc


def _own_size(node: yaml.Node) -> int:
    """Of a node by itself: one, and the characters of a scalar."""
    return 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)


def _children(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            return list(node.value)
    return []


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Each node once, however many aliases stand for it."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += _children(node)


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Of a node with every alias written out; `known` holds those that were counted, and None for one under way."""
    if id(node) not in known:
        known[id(node)] = None
        known[id(node)] = _own_size(node) + sum(_size(child, known) for child in _children(node))
    size = known[id(node)]
    if size is None:
        raise yaml.composer.ComposerError(None, None, "an alias stands within what it names", node.start_mark)
    return size
