"""A record for a person, on a terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.record import Record, Stage

COLUMNS = ("stage", "due/s", "answers/s", "failed", "p50 ms", "p90 ms", "p99 ms", "max ms", "late p99", "CPU gen.")
MAX_KINDS = 3
NONE = "-"


def show_record(record: Record, console: Console) -> None:
    """Stages, models, what servers counted, and whether it is valid."""
    table = Table(box=box.SIMPLE_HEAD, title=escape(record.name), title_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0)
    for stage in record.stages:
        table.add_row(*_row(record, stage), style=None if stage.counts else "dim")
    console.print(table)
    for stage in record.counted():
        _show_models(stage, console, label=len(record.counted()) > 1)
    counts = record.conditions.get("counts")
    if counts:
        told = escape("; ".join(f"{who} counted {count}" for who, count in counts["counted"].items()))
        console.print(f"answers in all: {counts['came']} came{'; ' + told if told else ''}", highlight=False)
    for kind, said in record.conditions.get("said", {}).items():
        console.print(f"the first {escape(kind)}: {escape(said)}", highlight=False, soft_wrap=True)
    for note in record.conditions.get("notes", ()):
        console.print(f"note: {escape(note)}", highlight=False)
    if record.slo is not None:
        console.print(f"SLO {escape(str(record.slo['objective']))}: {_held(record.slo['held'])}", highlight=False)
    for reason in record.invalid:
        console.print(f"[red]invalid[/red]: {escape(reason)}", highlight=False, soft_wrap=True)


def _row(record: Record, stage: Stage) -> tuple[str, ...]:
    summary, latency, late = stage.summary, stage.summary.latency_ms, stage.summary.lateness_ms
    figures = (
        [NONE] * 4
        if latency is None
        else [f"{value:.1f}" for value in (latency.p50, latency.p90, latency.p99, latency.max)]
    )
    return (
        escape(stage.title),
        f"{summary.due_per_s:.1f}" if stage.has_rates else NONE,
        f"{summary.answered_per_s:.1f}" if stage.has_rates else NONE,
        escape(_failed(summary.failed)),
        *figures,
        NONE if late is None or stage.rate_per_s is None else f"{late.p99:.1f}",
        _cpu(record, stage),
    )


def _failed(failed: dict[str, int]) -> str:
    ordered = sorted(failed.items(), key=lambda item: -item[1])
    if not ordered:
        return "0"
    kinds = ", ".join(f"{kind} {count}" for kind, count in ordered[:MAX_KINDS])
    return f"{kinds}, …" if len(ordered) > MAX_KINDS else kinds


def _cpu(record: Record, stage: Stage) -> str:
    """Cores of the generator's busiest process."""
    end_s = stage.begin_s + stage.seconds
    for series in record.series:
        if series.name == "generator.busiest":
            pairs = zip(series.times_s, series.values, strict=True)
            values = [value for at_s, value in pairs if stage.begin_s <= at_s < end_s and value is not None]
            return f"{sum(values) / len(values):.0%}" if values else NONE
    return NONE


def _show_models(stage: Stage, console: Console, *, label: bool) -> None:
    for name, model in stage.models.items():
        parts = [f"{phase} {spent:.1f}" for phase, spent in model.phases_ms.items()]
        if model.queue_ms is not None:
            compute = "" if model.compute_ms is None else f", compute {model.compute_ms:.1f}"
            batch = "" if model.batch is None else f", batches of {model.batch:.2f}"
            parts.append(f"at the server: queue {model.queue_ms:.1f}{compute}{batch}")
        if parts:
            where = f"{stage.name}, " if label else ""
            console.print(escape(f"{where}{name}, mean ms: {'  '.join(parts)}"), highlight=False)


def _held(held: bool) -> str:
    return "[green]held[/green]" if held else "[red]broken[/red]"
