"""Label files as people write them, read alike by the builder and by the frameworks' environment."""

from pathlib import Path

import pytest

from builder.recipes.labels import LabelsError, labels_from_file, labels_from_lines, problem_of_label
from builder.source import labels_from_file as checked_labels
from vision.errors import BuildError


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndøg\n".encode(),
        b"\xef\xbb\xbf" + "cat\r\ndøg\r\n\r\n".encode(),
        " cat \ndøg".encode(),
    ],
)
def test_labels_are_lines_of_utf8(tmp_path: Path, content: bytes) -> None:
    """With or without a byte order mark, whatever ends the lines; empty ones at the end are none."""
    (tmp_path / "labels.txt").write_bytes(content)
    assert labels_from_file(tmp_path / "labels.txt") == ("cat", "døg")
    assert checked_labels(tmp_path / "labels.txt") == ("cat", "døg")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"cat\n\ndog\n", "empty line 2"),
        (b"\ncat\n", "empty line 1"),
        (b"\n", "no labels"),
        ("döner".encode("latin-1"), "expected a UTF-8 text file"),
        (b"x" * (4 * 2**20 + 1), "no list of labels"),
    ],
)
def test_what_would_shift_ids_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    """An empty line is a label that somebody lost."""
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(LabelsError, match=part):
        labels_from_file(path)
    with pytest.raises(BuildError, match=part) as caught:
        checked_labels(path)
    assert caught.value.step == "contract"


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_newlines_end_a_line(tmp_path: Path, end: str) -> None:
    """What else Unicode calls an end of line shifts no id: the label that holds it is named."""
    (tmp_path / "labels.txt").write_bytes(f"traffic{end}light\r\ndog\n".encode())
    assert labels_from_file(tmp_path / "labels.txt") == (f"traffic{end}light", "dog")
    assert "must be printable" in (problem_of_label(f"traffic{end}light") or "")


def test_a_list_in_a_recipe_is_held_to_the_same() -> None:
    """Blanks are no label there either."""
    assert labels_from_lines(["cat", " dog"], "labels") == ("cat", "dog")
    for wrong in ([], ["cat", " "]):
        with pytest.raises(LabelsError, match="labels"):
            labels_from_lines(wrong, "labels")
