"""The page: one file that needs nothing else, neither a network nor a script."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from loadtest.comparison import Comparison
from loadtest.record import Record
from loadtest.report import breakdown, timelines
from loadtest.report.compared import compared
from loadtest.report.curve import throughput_latency
from loadtest.report.facts import facts_of, title_of
from loadtest.report.figure import Section
from loadtest.report.plot import sample_of


def html_of(records: Sequence[Record], comparison: Comparison | None = None) -> str:
    """Of one record, or of several side by side, on the same scales; with what a comparison of them found."""
    letters = [chr(ord("A") + number) if number < 26 else str(number + 1) for number in range(len(records))]
    named = [
        record.model_copy(update={"name": f"{letter} · {title_of(record)}"}) if len(records) > 1 else record
        for record, letter in zip(records, letters, strict=True)
    ]
    sections = _sections(named)
    return _template().render(
        facts=[facts_of(record, letter) for record, letter in zip(records, letters, strict=True)],
        comparison=None if comparison is None else compared(comparison),
        verdict=None if comparison is None else comparison.verdict,
        sections=[section for section in sections if section.figures],
        missing=[section.title for section in sections if not section.figures],
    )


def _sections(records: Sequence[Record]) -> list[Section]:
    return [
        throughput_latency(records),
        timelines.latency(records),
        timelines.rate(records),
        breakdown.phases(records),
        breakdown.queue_and_compute(records),
        breakdown.failures(records),
        timelines.lateness(records),
        *timelines.devices(records),
    ]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("loadtest.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["sample_of"] = sample_of
    return environment.get_template("page.html")
