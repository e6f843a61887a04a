"""What came in place of a checkpoint: pages, messages and pointers, told by their first bytes."""

import re
from pathlib import Path

from vision.errors import BuildError

STEP = "fetch"
LOOKED_AT_BYTES = 65_536
SAMPLE = 1000
SHOWN = 80
LFS = re.compile(r"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?size (\d{1,18})\n")
PAGE_STARTS = ("<!doctype html", "<html")
TITLE = re.compile(r"<title>(.{1,500}?)</title>", re.IGNORECASE | re.DOTALL)
THE_FILE = "give the address of the file itself (GitHub: …/raw/…, Hugging Face: …/resolve/…), or fetch it by hand"


def refuse_what_is_no_checkpoint(path: Path, where: str) -> None:
    """`where` is the file or address that is told. What is none of these may be a checkpoint, or damaged.

    Raises:
        BuildError: it is a web page, a message in JSON or XML, or a Git LFS pointer; or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LOOKED_AT_BYTES).decode("utf-8-sig", errors="replace")
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}") from exc
    if (found := _told(text)) is not None:
        raise BuildError(STEP, f"{where}: a checkpoint is expected, and this is {found}")


def _told(text: str) -> str | None:
    """What it is, and what to do."""
    if pointer := LFS.match(text):
        return f"a Git LFS pointer to a file of {int(pointer[1]):,} bytes: run git lfs pull there, or {THE_FILE}"
    if _is_page(text):
        title = TITLE.search(text)
        named = f", {_short(title[1])}" if title else ""
        return f"a web page{named}: the address leads to a page about the file, or wants a login; {THE_FILE}"
    is_text = not {"\0", "\ufffd"} & set(text[:SAMPLE])
    for start, kind in (("<?xml", "XML"), ("{", "JSON")):
        if is_text and text.lstrip().startswith(start):
            return f"a message in {kind}, {_short(text)}: the server says why there is no file; {THE_FILE}"
    return None


def _is_page(text: str) -> bool:
    rest = text.lstrip()
    while rest.startswith("<!--"):
        rest = rest.partition("-->")[2].lstrip()
    return rest[:SAMPLE].lower().startswith(PAGE_STARTS)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= SHOWN else f"{words[:SHOWN]}…")
