"""The gateway's image on arm64, as far as a machine of another kind can tell."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.engine import ROOT

pytestmark = pytest.mark.docker

LOCK = ROOT / "requirements" / "gateway.txt"
PLATFORMS = ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"]


def test_every_dependency_has_a_wheel(tmp_path: Path) -> None:
    """Of the very versions and hashes of the lock file, for Python 3.11 on a glibc that Debian 12 has."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--quiet"]
    command += ["--report", str(tmp_path / "report.json"), "--target", str(tmp_path / "target")]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--require-hashes"]
    command += [part for name in PLATFORMS for part in ("--platform", name)]
    done = subprocess.run(
        [*command, "--requirement", str(LOCK)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    names = re.findall(r'"url": "[^"]*/([^"/]+\.whl)"', (tmp_path / "report.json").read_text())
    assert len(names) > 40
    assert all(re.search(r"aarch64|any\.whl$", name) for name in names)
    assert any("opencv" in name and "aarch64" in name for name in names)
