"""`parity.html`: one page with every number, the pictures in it, readable in the dark."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.parity.drawn import shrunk
from builder.parity.report import ImageParity, ParityReport, Pictures

MAX_PICTURES = 40
MAX_BYTES = 2_000_000
"""Of the whole page."""
NOTHING = "\u2013"
SIZES = ((480, 82), (400, 78), (320, 72), (240, 65), (160, 55))
"""Long edge in pixels and JPEG quality, the first that fits."""

STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #5d6670; --card: #f6f7f9; --bad: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) {
  :root { --line: #363c43; --soft: #9aa4af; --card: #1b1f24; --bad: #ff8a80; --good: #7ddc9b; }
  body { background: #121518; color: #e7eaed; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 24px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 10px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; } h3 small { color: var(--soft); font-weight: normal; }
p { margin: 4px 0; } .soft { color: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
.verdict { font-size: 17px; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 5px 10px; text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; min-width: 150px; }
dl { display: grid; gap: 2px 18px; grid-template-columns: max-content 1fr; margin: 8px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
article { margin: 14px 0; padding: 12px 14px; }
.pictures { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); margin-top: 8px; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: 13px; }
img { display: block; max-height: 420px; max-width: 100%; border-radius: 4px; }
code { font: 13px ui-monospace, monospace; }
"""


def page_from_report(report: ParityReport) -> str:
    """The page, under two megabytes: pictures shrink, and beyond 40 images only the worst are shown."""
    shown = _worst_first(report.images)[:MAX_PICTURES]
    frame = "".join(_parts(report, ""))
    for edge, quality in SIZES:
        cards = "".join(_card(image, edge, quality) for image in shown)
        if len(frame) + len(cards) < MAX_BYTES or (edge, quality) == SIZES[-1]:
            break
    return "".join(_parts(report, cards))


def _worst_first(images: Sequence[ImageParity]) -> list[ImageParity]:
    """Failures first, otherwise in their order."""
    return sorted(images, key=lambda image: not image.failures)


def _parts(report: ParityReport, cards: str) -> Iterator[str]:
    source = report.contract.provenance.source
    title = report.model or source
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Parity: {escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>Parity of {escape(title)}</h1>"
    )
    kind = "bad" if report.failures else "good"
    verdict = "Differs from its source" if report.failures else "Agrees with its source"
    yield f'<p class="verdict {kind}">{verdict}</p><p>{escape(report.summary())}</p>'
    yield from (f'<p class="soft">Note: {escape(note)}.</p>' for note in report.notes)
    yield from _facts(report)
    yield from _table(report)
    hidden = len(report.images) - MAX_PICTURES
    yield "<h2>Pictures</h2>" + (f'<p class="soft">{hidden} more images are in the table.</p>' if hidden > 0 else "")
    yield cards + "</body></html>\n"


def _facts(report: ParityReport) -> Iterator[str]:
    provenance = report.contract.provenance
    tolerance = ", ".join(
        f"{name} {value:g}" for name, value in report.tolerance.model_dump().items() if value is not None
    )
    source = f"{provenance.source}: {report.reference}"
    facts = {
        "Source": f"{escape(source)}; sha256 <code>{provenance.source_sha256[:16]}</code>",
        "Published": f"{escape(report.precision)}; sha256 <code>{provenance.model_sha256[:16]}</code>",
        "Steps": escape(", ".join(step.op for step in report.contract.preprocess))
        + escape(f"; in the graph: {', '.join(s.op for s in report.contract.in_graph) or 'none'}"),
        "Tolerances": escape(tolerance),
        "Built": escape(provenance.created),
        "Versions": escape(", ".join(f"{name} {version}" for name, version in provenance.tools.items())),
    }
    yield "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items()) + "</dl>"


def _table(report: ParityReport) -> Iterator[str]:
    names = sorted({name for image in report.images for name in image.outputs})
    detection = report.contract.task == "detection"
    heads = ["photo", "network", "pixels", *names]
    heads += ["boxes", "paired", "alone", "least IoU", "score"] if detection else ["probability", "top classes"]
    classes = ["", *["n"] * (len(heads) - 1)] if detection else ["", *["n"] * (len(heads) - 2), ""]
    head = "".join(
        f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(["image", *heads], ["", *classes], strict=True)
    )
    yield f'<h2>Largest differences, image by image</h2><div class="scroll"><table><tr>{head}</tr>'
    for image in _worst_first(report.images):
        cells = [_size(image.photo_hw), _size(image.tensor_hw), _number(image.pixels)]
        cells += [_number(image.outputs.get(name)) for name in names]
        cells += _box_cells(image) if detection else _class_cells(image, report.contract.labels)
        row = "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(cells, classes, strict=True))
        mark = '<span class="bad">✗</span>' if image.failures else '<span class="good">✓</span>'
        yield f"<tr><td>{mark} {escape(image.name)}</td>{row}</tr>"
    yield "</table></div>"


def _box_cells(image: ImageParity) -> list[str]:
    found = image.boxes
    if found is None:
        return [NOTHING] * 5
    counts = f"{found.source} / {found.published}" if found.source != found.published else str(found.source)
    pairs = (f"{found.least_iou:.4f}", _number(found.largest_score)) if found.matched else (NOTHING, NOTHING)
    return [counts, str(found.matched), str(found.unmatched), *pairs]


def _class_cells(image: ImageParity, labels: Sequence[str]) -> list[str]:
    found = image.classes
    if found is None:
        return [NOTHING] * 2
    theirs, ours = (_labels(ids, labels) for ids in (found.source_ids, found.published_ids))
    return [_number(found.largest), theirs if theirs == ours else f"{theirs}<br>{ours}"]


def _labels(ids: Iterable[int], labels: Sequence[str]) -> str:
    return escape(", ".join(labels[i] if i < len(labels) else f"label {i}" for i in ids))


def _card(image: ImageParity, edge: int, quality: int) -> str:
    failures = "".join(f'<p class="bad">{escape(str(failure))}</p>' for failure in image.failures)
    pictures = "" if image.pictures is None else _figures(image, image.pictures, edge, quality)
    title = f"{escape(image.name)} <small>{_size(image.photo_hw)}</small>"
    return f"<article><h3>{title}</h3>{failures}{pictures}</article>"


def _figures(image: ImageParity, pictures: Pictures, edge: int, quality: int) -> str:
    shown = [("source", pictures.source), ("published", pictures.published)]
    if pictures.heat is not None:
        shown.append((f"tensor difference: black 0, bright {image.pixels or 0:.3g} of 255", pictures.heat))
    figures = "".join(
        f'<figure><img alt="{escape(caption)}: {escape(image.name)}" src="{_data_url(picture, edge, quality)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, picture in shown
    )
    return f'<div class="pictures">{figures}</div>'


def _data_url(picture: NDArray[np.uint8], edge: int, quality: int) -> str:
    ok, data = cv2.imencode(".jpg", shrunk(picture, edge)[0], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if ok else ""


def _size(hw: tuple[int, int] | None) -> str:
    return NOTHING if hw is None else f"{hw[1]}\u00d7{hw[0]}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else "0" if value == 0 else f"{value:.3g}"
