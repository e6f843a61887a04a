import json

import onnx
import pytest

from builder.lint.operators import FILE, support_of, tables
from builder.lint.type_rules import NAMES
from vision.errors import BuildError

GONE = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}
"""Of ONNX's first, experimental operators: TensorRT's pages list them still, ONNX's schemas do not."""


def test_every_name_is_an_operator_of_onnx_and_every_type_a_type() -> None:
    """A misspelt row would refuse, or let pass, what it is about. Swish and TensorScatter are of opset 24."""
    known = {schema.name for schema in onnx.defs.get_all_schemas()} | GONE
    for table in tables():
        assert set(table.types) <= known
        assert frozenset().union(*table.types.values()) <= set(NAMES.values())


def test_every_table_says_where_it_comes_from() -> None:
    """As an address, and in order of versions without a gap that goes backwards."""
    read = json.loads(FILE.read_text())["tables"]
    assert all(table["source"].startswith("https://github.com/onnx/onnx-tensorrt") for table in read)
    assert [table.since for table in tables()] == sorted(table.since for table in tables())
    assert all(table.since <= table.until for table in tables())


@pytest.mark.parametrize(
    ("version", "table", "between"),
    [
        ("8.4", (8, 4), False),
        ("8.5.2", (8, 5), False),
        ("8.6.2", (8, 6), False),
        ("10.3", (10, 1), False),
        ("10.3.0.30", (10, 1), False),
        ("10.13", (10, 5), True),
        ("10.16.1", (10, 15), False),
        ("11.4", (11,), False),
    ],
)
def test_a_version_finds_its_table(version: str, table: tuple[int, ...], between: bool) -> None:
    """Compared as numbers: 10.13 is after 10.5."""
    support = support_of(version)
    assert support.table.since == table
    assert (support.later is not None) == between


@pytest.mark.parametrize("version", ["latest", "8", "7.2.1", "", "8.x", "-8.5"])
def test_what_is_no_known_version_is_refused(version: str) -> None:
    """Rather than compared with something."""
    with pytest.raises(BuildError, match="TensorRT"):
        support_of(version)


def test_what_a_version_takes() -> None:
    """Yes, no, and not known where only the table after it has the operator."""
    assert support_of("10.5").takes("STFT") is True
    assert support_of("10.4").takes("STFT") is False
    assert support_of("10.13").takes("RMSNormalization") is None
    assert support_of("10.13").takes("Unique") is False
