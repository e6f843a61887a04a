"""Every command of the load tests' pages is one that the programs take."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import builder.__main__ as builder_command
import clients.__main__ as clients_command
import loadtest.__main__ as loadtest_command
from loadtest.commands import planning
from loadtest.slo import Slo

ROOT = Path(__file__).parents[2]
PAGES = ("docs/13-load-tests.md", "docs/14-reports.md", "docs/guides/load.md", "docs/12-watching.md", "README.md")
PARSERS = {
    "loadtest": loadtest_command._parser,
    "clients": clients_command._parser,
    "builder": builder_command._parser,
}
COMMAND = re.compile(r"^(?:\S*/)?(?:python -m (loadtest|clients|builder)|(make load)|(locust)) ")
INLINE = re.compile(r"`([^`\n]+)`")
LOCUST = """
import json, sys
import loadtest.locustfile
from locust.argument_parser import parse_options
for words in json.load(sys.stdin):
    parse_options(words)
"""


def commands() -> list[tuple[str, str]]:
    """The page and each line of its code, joined where it goes on, and code between backticks with options."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text().replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines()] + [code for code in INLINE.findall(text) if " --" in code]
        about = "load" in page
        found += [
            (page, line)
            for line in dict.fromkeys(lines)
            if (kind := COMMAND.match(line)) and (about or kind[1] == "loadtest" or kind[2] or "loadtest/" in line)
        ]
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


ALL = commands()
OF_LOCUST = [words_of(line)[1:] for _, line in ALL if words_of(line)[0].endswith("locust")]
OTHERS = [(page, line) for page, line in ALL if not words_of(line)[0].endswith("locust")]


@pytest.mark.parametrize(("page", "line"), OTHERS, ids=[line for _, line in OTHERS])
def test_a_command_is_taken(page: str, line: str) -> None:
    """By the parser of the program that it is for; its plan and its objective can be read."""
    words = words_of(line)
    if words[0] == "make":
        given = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
        program, words = "loadtest", ["run", *shlex.split(given)]
    else:
        program, words = words[2], words[3:]
    options = PARSERS[program]().parse_args(words)
    if hasattr(options, "arrivals"):
        _read(options)
    if getattr(options, "slo", None):
        Slo.parse(options.slo)


def _read(options: argparse.Namespace) -> None:
    """Its plan, where that is in its flags: a file of the reader's is not here."""
    if options.plan is None:
        assert planning.plan_of(options).loads()


def test_locust_takes_its_commands() -> None:
    """With the locustfile's own options."""
    assert len(OF_LOCUST) >= 2
    parsed = subprocess.run(
        [sys.executable, "-c", LOCUST],
        cwd=ROOT,
        input=json.dumps(OF_LOCUST),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert parsed.returncode == 0, parsed.stderr


def test_the_pages_have_the_commands() -> None:
    """Nothing was looked at if nothing was found: each of the five commands is shown at least once."""
    shown = {words_of(line)[3] for _, line in OTHERS if words_of(line)[2:3] == ["loadtest"]}
    assert {"run", "report", "compare", "capacity", "tune"} <= shown
