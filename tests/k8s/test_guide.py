"""The guide's commands are for this chart: its values and files are there, and what they set is taken."""

import re
import shlex

import pytest

from tests.k8s.chart import CHART, helm
from tests.local_triton import ROOT

GUIDE = ROOT / "docs" / "guides" / "cluster.md"
STANDS_FOR_MORE = "…"


def _commands() -> list[list[str]]:
    """What is indented and begins with `helm upgrade`, as words; lines that end in a backslash go on."""
    text = GUIDE.read_text().replace("\\\n", " ")
    return [shlex.split(found) for found in re.findall(r"^ {4,}(helm upgrade .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_helm_takes_what_the_guide_sets(words: list[str]) -> None:
    """From the repository's root, as whoever reads it would."""
    options = [word for word in words[2:] if word not in {"--install", "--reset-then-reuse-values", STANDS_FOR_MORE}]
    places = [word for word in options if word not in {"jetserve", "docker/k8s/jetserve"}]
    given = [re.sub(r"(^|=)docker/", rf"\g<1>{ROOT}/docker/", word) for word in places]
    done = helm("template", "jetserve", ".", *(word for word in given if word != "--create-namespace"))
    assert done.returncode == 0, done.stderr


def test_there_are_commands_to_try() -> None:
    """And files that it links to are there."""
    assert len(_commands()) >= 5
    links = re.findall(r"\]\((\.\./\.\./[^)#]+)\)", GUIDE.read_text())
    assert len(links) >= 7
    assert all((GUIDE.parent / link).exists() for link in links)
    assert (CHART / "templates" / "NOTES.txt").exists()
