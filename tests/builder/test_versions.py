import re
from dataclasses import fields
from pathlib import Path

import pytest

from builder.devices.tegra import JETPACKS
from builder.lint.operators import support_of
from builder.versions import FILE, Release, release_of_jetpack, release_of_l4t, releases
from vision.errors import BuildError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "09-jetson.md"


def rows(page: str) -> list[list[str]]:
    """The cells of the table under "Versions", without its head."""
    section = page.partition("\n## Versions\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[1:] if "---" not in line]


def told(release: Release) -> list[str]:
    known = {True: "yes", False: "no", None: "not known"}[release.ort_tensorrt]
    return [
        release.jetpack_told,
        release.l4t_told,
        f"{release.cuda} / {release.tensorrt}",
        release.python,
        release.triton,
        known,
        release.confirmed,
    ]


def test_the_page_and_the_file_are_one_table() -> None:
    """Row by row; the page adds a source to each."""
    assert [row[:7] for row in rows(PAGE.read_text())] == [told(release) for release in releases()]
    assert all(row[7] for row in rows(PAGE.read_text()))


def test_every_known_l4t_has_one_row_and_its_jetpack_the_same() -> None:
    """What a device reads of itself, and what a person says of it, lead to the same Triton."""
    for l4t, jetpack in JETPACKS.items():
        assert release_of_l4t(l4t) == release_of_jetpack(jetpack)


def test_lint_knows_every_tensorrt_of_the_table() -> None:
    """`--jetpack` names one of them."""
    assert all(support_of(release.tensorrt) for release in releases())


def test_no_tag_moves() -> None:
    """A tag that names a month or a release, never `latest`; and no registry."""
    for release in releases():
        assert re.fullmatch(
            r"tritonserver:\d\d\.\d\d-py3(-igpu)?|tritonserver[\d.]+-jetpack[\d.]+\S*\.tgz", release.triton
        )


@pytest.mark.parametrize(("version", "key"), [("5.0.2", "JP50"), ("5.1", "JP51"), ("6.0", "JP60"), ("6.2", "JP62")])
def test_a_jetpack_finds_its_row(version: str, key: str) -> None:
    """Also as people write it, with fewer numbers."""
    assert release_of_jetpack(version).key == key


@pytest.mark.parametrize("version", ["4.6", "5.9", "7.9", "8", "latest", "", "6.x", "6"])
def test_a_jetpack_in_no_row_is_an_error(version: str) -> None:
    """It names the rows there are; nothing is guessed, and 6 may be 6.0 or 6.2."""
    with pytest.raises(BuildError, match=r"JetPack"):
        release_of_jetpack(version)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("JP51_CUDA=11.4\n", ""), "CUDA"),
        (lambda text: text + "JP51_CUDA=11.4\n", "once each"),
        (lambda text: text + "JP51_SURPRISE=1\n", "SURPRISE"),
        (lambda text: text + "some words\n", "JPNN_NAME=value"),
        (lambda text: text.replace("JP51_L4T=35.2.1-35.6.4", "JP51_L4T=35.6.4-35.2.1"), "no range"),
        (lambda text: text.replace("JP51_CONFIRMED=documents", "JP51_CONFIRMED=surely"), "CONFIRMED"),
    ],
)
def test_a_broken_file_is_told_by_what_is_wrong(change: object, words: str, tmp_path: Path) -> None:
    """A missing, doubled, unknown or unreadable line, and a range that goes backwards."""
    assert callable(change)
    path = tmp_path / "versions.env"
    path.write_text(change(FILE.read_text()))
    with pytest.raises(BuildError, match=words):
        releases(path)


def test_compose_can_read_it() -> None:
    """KEY=value lines and comments, and nothing that a shell would read otherwise."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z0-9_]+=[A-Za-z0-9.:/@_-]+", line) for line in lines)
    rows = [line for line in lines if not line.startswith("IMAGE_")]
    assert len(rows) == len(releases()) * (len(fields(Release)) - 1)
