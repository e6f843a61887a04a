"""The `serving:` part of a `recipe.yaml`, changed in its text: what else stands there stays, comments too.

Nothing here reads YAML as a whole. A recipe that has `serving` in a form that is not understood is left alone.
"""

import re
from pathlib import Path

from loadtest.record import write_text
from vision.errors import InvalidArgument
from vision.serving import ServingSettings

FILE = "recipe.yaml"
KEY = re.compile(r"^serving:[ \t]*(?P<rest>[^#\n]*?)[ \t]*(?P<comment>#.*)?$", re.MULTILINE)
COMMENT = re.compile(r"\s+#.*$")
INDENT = "  "


def recipe_of(model: str, recipes: Path) -> Path:
    """The `recipe.yaml` beneath `recipes` that builds `model`.

    Raises:
        InvalidArgument: there is none, or more than one.
    """
    names = re.compile(rf"^name:[ \t]*['\"]?{re.escape(model)}['\"]?[ \t]*(#.*)?$", re.MULTILINE)
    found = [path for path in sorted(recipes.glob(f"*/{FILE}")) if names.search(path.read_text())]
    if len(found) != 1:
        what = f"{len(found)} recipes" if found else "no recipe"
        raise InvalidArgument(f"{what} beneath {recipes} with `name: {model}`: say which with --recipe FOLDER")
    return found[0]


def write(path: Path, target: str, settings: ServingSettings) -> None:
    """Have the recipe say how Triton is to run the model on `target`; whole or not at all.

    Raises:
        InvalidArgument: it says so already in a form that is not understood, or cannot be read.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidArgument(f"{path} cannot be read: {exc}") from exc
    write_text(path, with_serving(text, target, settings))


def with_serving(text: str, target: str, settings: ServingSettings) -> str:
    """The recipe's text with these settings for `target`.

    Raises:
        InvalidArgument: `serving` is there in a form that is not understood.
    """
    line = f"{INDENT}{target}: {flow(settings)}"
    found = KEY.search(text)
    if found is None:
        return _inserted(text, f"serving:\n{line}\n")
    if found["rest"]:
        raise InvalidArgument(
            f"the recipe has its `serving` on one line, which is not understood: write there yourself\n{line.strip()}"
        )
    head, body = text[: found.end() + 1], text[found.end() + 1 :].splitlines(keepends=True)
    if not head.endswith("\n"):
        head += "\n"
    block, after = _block(body)
    return head + "".join(_replaced(block, target, line)) + "".join(after)


def flow(settings: ServingSettings) -> str:
    """As one line of YAML: `{instances: 2, preferred_batch: [4, 8]}`."""
    values = settings.model_dump(exclude_none=True)
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return "{" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "}"


def _inserted(text: str, block: str) -> str:
    """Before `parity:`, as in other recipes; else at the end."""
    place = re.search(r"^parity:", text, re.MULTILINE)
    if place is not None:
        return text[: place.start()] + block + text[place.start() :]
    return text + ("" if text.endswith("\n") or not text else "\n") + block


def _block(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines that belong to a key, and those after: what is indented belongs, and blanks and comments between."""
    ends = max((number + 1 for number, line in enumerate(lines[: _next_key(lines)]) if _is_indented(line)), default=0)
    return lines[:ends], lines[ends:]


def _next_key(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if re.match(r"[^\s#]", line)), len(lines))


def _is_indented(line: str) -> bool:
    return bool(re.match(r"[ \t]+\S", line))


def _replaced(block: list[str], target: str, line: str) -> list[str]:
    """The block with the target's line for what it said of the target, or behind the others."""
    key = re.compile(rf"^(?P<indent>[ \t]+){re.escape(target)}:(?P<rest>.*)$")
    for number, old in enumerate(block):
        if (found := key.match(old.rstrip("\n"))) is None:
            continue
        indent = found["indent"]
        end = number + 1
        while end < len(block) and re.match(rf"{indent}[ \t]+\S", block[end]):
            end += 1
        comment = COMMENT.search(found["rest"])
        new = f"{indent}{line.strip()}{comment[0] if comment else ''}\n"
        return [*block[:number], new, *block[end:]]
    indents = [re.match(r"[ \t]+", old) for old in block if _is_indented(old) and not old.lstrip().startswith("#")]
    indent = next((each[0] for each in indents if each), INDENT)
    if block and not block[-1].endswith("\n"):
        block[-1] += "\n"
    return [*block, f"{indent}{line.strip()}\n"]
