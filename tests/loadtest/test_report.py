"""The page of a record: whole, escaped, and in a browser as it should be."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loadtest.comparison import comparison_of
from loadtest.knee import knee_of
from loadtest.record import Record, Stage
from loadtest.report import html_of
from loadtest.report.bars import NAME
from loadtest.report.plot import Frame, Line, Mark
from loadtest.report.scale import Scale, number, scale_for
from loadtest.report.timelines import pieces_of
from tests.loadtest.browser import VARIABLE, Browser, browser, program
from tests.loadtest.simulated import latencies_of, record_of, stage_of, steps_record

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "br", "img", "hr"}


class Outline(HTMLParser):
    """Tags in order, and whether they close as they open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture(scope="module")
def record() -> Record:
    return steps_record()


@pytest.fixture(scope="module")
def page(record: Record) -> str:
    return html_of([record])


def test_one_file_without_scripts_and_without_the_network(page: str) -> None:
    """Well formed; the only link is an empty icon, and the style asks for nothing."""
    outline = Outline(page)
    assert outline.tags.count("svg") > 10
    assert "script" not in outline.tags
    assert outline.links == ["data:,"]
    assert not re.search(r"url\(|@import|https?://(?!127\.0\.0\.1)", page)


def test_every_plot_has_words_and_a_table(page: str) -> None:
    """A title and a description with figures for who cannot see it, and all of its numbers."""
    plots = re.findall(r'<svg [^>]*role="img".*?</svg>', page, re.DOTALL)
    assert len(plots) >= 9
    for plot in plots:
        assert re.search(r"<title>.+?</title><desc>.*\d.*</desc>", plot), plot[:200]
    assert page.count("<summary>Table</summary>") == len(plots)
    assert not re.search(r"<tbody>\s*</tbody>", page)


def test_it_says_the_verdict_first(record: Record) -> None:
    """Valid or not with every reason, the objective's terms with what was measured, then figures."""
    bad = record.model_copy(update={"invalid": ["the device throttled"], "finished": False})
    text = html_of([bad])
    places = [text.index(each) for each in ("Invalid", "the device throttled", "not finished", "Objective broken",
                                            "p99&lt;60ms", "<h2>Stages", "<h2>Plots", "<h2>Conditions")]  # fmt: skip
    assert places == sorted(places)
    assert "Valid</p>" in html_of([record])


@pytest.mark.parametrize(
    "said",
    ["knee 60/s", "The knee is at 60/s", "http_500", "Queue, compute and batch", "Lateness of the generator",
     "device.power", "device.temperature", "device.throttling", "images per joule", "e8767fa", "c0ffee",
     "rate_per_s = 60", "counted by the server"],
)  # fmt: skip
def test_it_has_everything_that_was_recorded(said: str, page: str) -> None:
    """Of plots, figures and conditions."""
    assert said in page


def test_phases_lie_one_after_the_other(page: str) -> None:
    """Each bar begins where the one before ended, and says its milliseconds."""
    [plot] = re.findall(r"<svg [^>]*><title>Phases of balloon.*?</svg>", page, re.DOTALL)
    bars = [
        (float(x), float(width)) for x, width in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', plot)
    ]
    assert len(bars) == 11
    assert bars[0][0] == NAME + 6  # where nought is
    means = [float(mean) for mean in re.findall(r"<title>[^<:]+: ([\d.]+) ms</title>", plot)]
    seen = [width for _, width in bars]
    assert seen == pytest.approx([max(1.5, mean * max(seen) / max(means)) for mean in means], abs=0.3)
    for (x, width), (after, _) in pairwise(bars):
        assert after == pytest.approx(x + width, abs=1.6)
    assert "decode: 2.6 ms" in plot


def test_whatever_a_record_says_is_only_text() -> None:
    """Names of models, stages, kinds of failures, series and records cannot become markup."""
    rng = np.random.default_rng(0)
    stage = stage_of(latencies_of(rng, 10, 20), EVIL, model=EVIL, failed=1, phases_ms={EVIL: 2.0})
    other = stage.model_copy(update={"name": EVIL + "2", "begin_s": 10.0})
    summary = stage.summary.model_copy(update={"failed": {EVIL: 10}})
    stages = [stage.model_copy(update={"summary": summary}), other]
    conditions = {"commit": EVIL, EVIL: {EVIL: EVIL}}
    evil = record_of(stages, EVIL, invalid=[EVIL], conditions=conditions, plan={EVIL: [{EVIL: EVIL}]},
                     series=[{"name": EVIL, "unit": EVIL, "times_s": [1.0, 2.0], "values": [1.0, None]}],
                     slo={"objective": EVIL, "held": False,
                          "stages": [{"stage": EVIL, "held": False,
                                      "terms": [{"term": EVIL, "said": EVIL, "held": False}]}]})  # fmt: skip
    html = html_of([evil, evil], comparison_of([evil], [evil]))
    assert "script" not in Outline(html).tags
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_several_records_stand_side_by_side_on_the_same_scales(record: Record) -> None:
    """Each plot once a record, with the same numbers at the axes; the curve once, with both."""
    other = steps_record("slower", 1, capacity=50.0)
    html = html_of([record, other])
    plots = re.findall(r"<svg [^>]*><title>Latency over time.*?</svg>", html + html_of([other, record]), re.DOTALL)
    assert len(plots) == 4
    assert len({tuple(re.findall(r'text-anchor="end">([^<]+)</text>', plot)) for plot in plots}) == 1
    assert len(re.findall("<title>Throughput and latency</title>", html)) == 1
    assert "A · steps: p99" in html
    assert "B · slower: p99" in html


def test_empty_and_broken_off_records_have_a_page() -> None:
    """What was not recorded is named, and nothing fails."""
    rng = np.random.default_rng(0)
    nothing = record_of([], invalid=["it was killed"], finished=False)
    silent = stage_of(latencies_of(rng, 3, 5))
    summary = silent.summary.model_copy(update={"latency_ms": None, "lateness_ms": None, "answered": 0})
    silent = silent.model_copy(update={"windows": [], "summary": summary, "models": {}})
    for found in (nothing, record_of([silent]), record_of([stage_of(latencies_of(rng, 1, 1))])):
        html = html_of([found])
        Outline(html)
        assert "Nothing was recorded, or happened, for: Throughput and latency" in html


def dots(html: str, of: str) -> list[tuple[float, float]]:
    """The curve's points of p99, in the order in which its line has them."""
    [plot] = re.findall(rf"<svg [^>]*><title>{of}</title>.*?</svg>", html, re.DOTALL)
    drawn = re.search(r'<path d="([^"]+)" class="line s0"|<path class="line s0" d="([^"]+)"', plot)
    assert drawn is not None
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", drawn[1] or drawn[2])]


def test_the_curve_turns_back_where_the_server_gives_way() -> None:
    """Points in the order of load: of more load and fewer answers, the line goes back to the left, and up."""
    stages = [_stage(10, 10, 20), _stage(20, 20, 25), _stage(40, 40, 30), _stage(80, 25, 900)]
    drawn = dots(html_of([record_of(stages)]), "Throughput and latency")
    assert [x for x, _ in drawn[:3]] == sorted(x for x, _ in drawn[:3])
    assert drawn[1][0] < drawn[3][0] < drawn[2][0]
    assert drawn[3][1] == min(y for _, y in drawn)


def test_a_capacity_is_said_first() -> None:
    """What was found, in words, and the figures of its rate, not of another one that held."""
    found = {"rate_per_s": 20.0, "objective": "p99<50ms", "said": "20 requests/s: 40 does not hold"}
    record = record_of([_stage(10, 10, 20), _stage(20, 20, 45), _stage(40, 40, 900)])
    record = record.model_copy(update={"conditions": {**record.conditions, "capacity": found}})
    html = html_of([record])
    assert html.index("p99&lt;50ms holds up to 20 requests/s: 40 does not hold") < html.index("<h2>Stages")
    assert "Of stage 20" in html
    assert "Of stage 10" in html_of([record.model_copy(update={"conditions": {}})])


def test_the_rest_of_a_window_is_no_rate() -> None:
    """Two requests in the 0.1 s before a run was ended are not twenty a second."""
    stage = stage_of([np.full(5, 0.02)] * 6)
    rest = stage.windows[0].model_copy(update={"begin_s": 6.0, "seconds": 0.1, "due": 2, "sent": 2, "answered": 2})
    pieces = pieces_of(record_of([stage.model_copy(update={"windows": [*stage.windows, rest]})]))
    assert [piece.per_s(lambda window: window.answered) for piece in pieces] == [5] * 6
    short = [rest.model_copy(update={"begin_s": begin_s}) for begin_s in (0.0, 0.1)]
    assert len(pieces_of(record_of([stage.model_copy(update={"windows": short})]))) == 2


def test_names_of_stages_keep_to_their_room() -> None:
    """One that is longer is cut, one at the very end is left out; the table has them whole."""
    line = [Line("p99", [(0.0, 1.0), (100.0, 2.0)], 0)]
    drawn = Frame.around(line, "seconds", "ms").drawn(
        line, [Mark(0.0, "x" * 100), Mark(50.0, "short"), Mark(99, "10/s")]
    )
    said = re.findall(r'class="stage-name"[^>]*>([^<]*)<|stage-name">([^<]*)<', drawn)
    cut, whole, none = ("".join(each) for each in said)
    assert cut.endswith("…")
    assert 10 < len(cut) < 40
    assert (whole, none) == ("short", "")


def knee(*stages: tuple[float, float, float]) -> tuple[str, bool] | None:
    """Of stages by rate, answered and p99 in ms."""
    found = knee_of([_stage(*stage) for stage in stages])
    return None if found is None else (found.stage.name, found.is_end)


def _stage(rate: float, answered: float, p99_ms: float) -> Stage:
    stage = stage_of([np.full(max(1, int(answered)), p99_ms / 1e3)] * 10, f"{rate:g}")
    summary = stage.summary.model_copy(update={"due": int(rate * 10), "due_per_s": rate})
    return stage.model_copy(update={"rate_per_s": rate, "summary": summary})


def test_the_knee_is_the_last_stage_that_keeps_up() -> None:
    """Below twice the least load's p99 and at 95 % of what was due, without a gap; in any order of stages."""
    assert knee((10, 10, 20), (20, 20, 25), (40, 40, 39), (80, 80, 41)) == ("40", False)
    assert knee((40, 40, 39), (80, 80, 41), (10, 10, 20), (20, 20, 25)) == ("40", False)
    assert knee((10, 10, 20), (20, 20, 25), (40, 37, 25)) == ("20", False)
    assert knee((10, 10, 20), (20, 20, 50), (40, 40, 25)) == ("10", False)
    assert knee((10, 10, 20), (20, 20, 25), (40, 40, 30)) == ("40", True)
    assert knee((10, 10, 20), (20, 20, 25)) is None
    assert knee_of([]) is None


def test_scales_have_round_ticks_inside() -> None:
    """Linear ones from nought; logarithms where values differ by more than a dozen times."""
    assert scale_for([3, 97], 0, 100).ticks() == [0, 20, 40, 60, 80, 100]
    log = scale_for([2, 900], 0, 100, log=True)
    assert log.is_log
    assert log.ticks() == [10, 100] or len(log.ticks()) >= 3
    assert scale_for([], 0, 100).ticks()
    assert scale_for([5, 5], 0, 100, zero=False).at(5) == pytest.approx(0)
    assert Scale(0, 10, 100, 0).at(2.5) == 75


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "\u2013"), (0, "0"), (1520, "1\u202f520"), (15.23, "15.2"), (0.01523, "0.0152"), (999.9, "1\u202f000"),
     (8_123_456_789, "8.12\u202fG"), (2.5e6, "2.5\u202fM"), (1e-5, "1.0e-05"), (float("nan"), "\u2013")],
)  # fmt: skip
def test_numbers_are_for_people(value: float | None, said: str) -> None:
    """Three figures, thousands apart, no exponents where people need none."""
    assert number(value) == said


needs_browser = pytest.mark.skipif(program() is None, reason=f"needs Chromium (found on PATH, or {VARIABLE})")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def path(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two records, one of them with words that are longer than a line."""
    found = tmp_path_factory.mktemp("report") / "report.html"
    long = record.model_copy(update={"name": "a" * 120, "invalid": ["b" * 200]})
    found.write_text(html_of([long, record], comparison_of([record], [record])))
    return found


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(chromium: Browser, path: Path, width: int, dark: bool) -> None:
    """No errors, no request but for the file, nothing wider than the window, in both schemes."""
    seen = chromium.see(path, width=width, dark=dark)
    assert seen.console == []
    assert seen.requests == [path.as_uri()]
    assert seen.width <= width
    assert seen.colour == ("rgb(18, 21, 24)" if dark else "rgb(255, 255, 255)")
    assert "The knee is at 60/s" in seen.text
