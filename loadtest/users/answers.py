"""What came of a request, and whether it is what was asked for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.images import Image
from loadtest.samples import OK

WRONG = "wrong_answer"
TIMEOUT = "timeout"
CONNECTION = "connection"
TIMING = re.compile(r"([\w.-]+)\s*;\s*dur=(\d+(?:\.\d+)?)")
ERROR_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Of an error, as the gateway tells it; sentences, which may be different every time, are none."""
UNREADABLE = (ValueError, RecursionError)
"""Of JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`outcome` is ok or the kind of failure, and `detail` says more of it; `images` are those that were answered."""

    outcome: str
    detail: str = ""
    images: int = 0
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    length: int = 0
    """Bytes."""


def answer_from_http(status: int, content: bytes, timing: str | None, model: str, image: Image) -> Answer:
    """Of the gateway's `/v1/models/{model}/predict`."""
    if status != 200:
        return failure_from_http(status, content)
    problem = _problem(content, model, image)
    if problem is not None:
        return Answer(WRONG, problem, length=len(content))
    return Answer(OK, "", 1, phases_from_timing(timing), len(content))


def failure_from_http(status: int, content: bytes) -> Answer:
    """The gateway's own kind of error, or `http_…`."""
    try:
        told = json.loads(content)
        kind, detail = str(told["error"]), str(told["detail"])[:200]
    except (*UNREADABLE, KeyError, TypeError):
        return Answer(f"http_{status}", content[:200].decode("utf-8", "replace"), length=len(content))
    if ERROR_KIND.fullmatch(kind) is None:
        return Answer(f"http_{status}", f"{kind[:200]}: {detail}", length=len(content))
    return Answer(kind, detail, length=len(content))


def phases_from_timing(header: str | None) -> dict[str, float]:
    """Of a `Server-Timing` header (W3C), in ms by phase."""
    return {name: float(spent) for name, spent in TIMING.findall(header or "")}


def _problem(content: bytes, model: str, image: Image) -> str | None:
    """Why this is not the answer to that photo."""
    try:
        told = json.loads(content)
    except UNREADABLE:
        return f"expected JSON, got {content[:80]!r}"
    try:
        [result] = told["results"]
        size_hw = result["height"], result["width"]
        found = result.get("detections", result.get("classes"))
        if told["model"] != model:
            return f"asked {model}, and {told['model']} answered"
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        return f"expected one result of one photo, got {content[:80]!r} ({type(exc).__name__}: {exc})"
    if size_hw != image.size_hw:
        return f"{image.name} is {image.size_hw} high and wide, and the answer is of a photo of {size_hw}"
    if not isinstance(found, list) or not all(isinstance(each, dict) and "score" in each for each in found):
        return f"expected detections or classes, each with a score, got {content[:80]!r}"
    return None
