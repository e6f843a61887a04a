"""What the documents have their reader type."""

import re

from tests.docker.engine import ROOT


def blocks_of(document: str) -> list[str]:
    """The shell blocks of a file of the repository."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)


def block_of_guide(guide: str, part: str) -> str:
    """The one shell block of a guide that has `part` in it."""
    [block] = [block for block in blocks_of(f"docs/guides/{guide}.md") if part in block]
    return block


def curl_of_readme() -> str:
    """The first that the README shows; the guide to deploy begins with the same."""
    [shown, *_] = [block for block in blocks_of("README.md") if block.startswith("curl")]
    assert blocks_of("docs/guides/deploy.md")[0] == shown
    return shown
