"""Where the time of a request went, and what became of those that failed."""

from collections import Counter
from collections.abc import Callable, Sequence

from loadtest.record import OfModel, Record, Stage
from loadtest.report.bars import Bar, bars_drawn, ms
from loadtest.report.figure import Figure, Section, Table
from loadtest.report.scale import number

WHOLE = "total"
"""A phase that is the others' sum, where the server tells it."""


def phases(records: Sequence[Record]) -> Section:
    """A waterfall for each model, of the busiest stage that has them: each phase begins where the one before ends."""
    found = [
        (record, stage, model, _spans(figures))
        for record in records
        for stage, model, figures in _models(record, lambda figures: bool(figures.phases_ms))
    ]
    end = max((bar.begin + bar.length for *_, bars in found for bar in bars), default=0.0)
    figures = []
    for record, stage, model, bars in found:
        title = f"Phases of {model}"
        total = bars[-1].begin + bars[-1].length
        said = "; ".join(f"{bar.name} {bar.said}" for bar in bars)
        table = Table(["phase", "mean"], [[bar.name, bar.said] for bar in bars])
        note = f"{ms(total)} in all, means of stage {stage.name}."
        figures.append(Figure(title, bars_drawn(title, said, bars, end), table, (), record.name, note))
    text = "What the gateway says of each answer (Server-Timing), one phase after the other."
    return Section("Phases", text, figures)


def queue_and_compute(records: Sequence[Record]) -> Section:
    """Triton's own account, stage by stage."""
    figures = []
    for record in records:
        bars: list[Bar] = []
        rows = []
        for stage in record.counted():
            for model, found in stage.models.items():
                if found.queue_ms is None or found.compute_ms is None:
                    continue
                name = f"{model}, {stage.name}" if len(stage.models) > 1 else stage.name
                bars += [
                    Bar(f"{name}", 0, found.queue_ms, f"queue {ms(found.queue_ms)}", 1),
                    Bar("", found.queue_ms, found.compute_ms, f"compute {ms(found.compute_ms)}", 0),
                ]
                rows.append([model, stage.name, *map(number, (found.queue_ms, found.compute_ms, found.batch))])
        if bars:
            title = "Queue, compute and batch"
            said = "; ".join(f"{row[0]} in {row[1]}: {row[2]} ms queue, {row[3]} ms compute" for row in rows)
            table = Table(["model", "stage", "queue ms", "compute ms", "images a batch"], rows)
            batches = "; ".join(f"{row[0]}, {row[1]}: {row[4]}" for row in rows)
            note = f"Images a batch: {batches}."
            figures.append(Figure(title, bars_drawn(title, said, bars), table, (), record.name, note))
    text = "Triton's statistics before and after each stage: waiting in its queue, and the model itself."
    return Section("Queue, compute and batch", text, figures)


def failures(records: Sequence[Record]) -> Section:
    """By kind, over all stages that count; without any, nothing."""
    figures = []
    for record in records:
        kinds: Counter[str] = Counter()
        for stage in record.counted():
            kinds.update(stage.summary.failed)
        bars = [Bar(kind, 0, count, number(count), 1) for kind, count in kinds.most_common() if count]
        if bars:
            title, said = "Failures by kind", "; ".join(f"{bar.name} {bar.said}" for bar in bars)
            rows = [[kind, str(count)] for kind, count in kinds.most_common()]
            figures.append(
                Figure(title, bars_drawn(title, said, bars), Table(["kind", "requests"], rows), (), record.name)
            )
    text = "Requests without the answer that was asked for; `not_sent` and `unanswered` are the generator's."
    return Section("Failures", text.replace("`", ""), figures)


def _spans(figures: OfModel) -> list[Bar]:
    """In the order in which the gateway tells them."""
    bars: list[Bar] = []
    begin = 0.0
    for name, mean in figures.phases_ms.items():
        if name != WHOLE:
            bars.append(Bar(name, begin, mean, ms(mean), len(bars) % 2))
            begin += mean
    return bars or [Bar(WHOLE, 0, figures.phases_ms[WHOLE], ms(figures.phases_ms[WHOLE]))]


def _models(record: Record, has: Callable[[OfModel], bool]) -> list[tuple[Stage, str, OfModel]]:
    """Of each model the busiest stage that has it."""
    best: dict[str, tuple[Stage, str, OfModel]] = {}
    for stage in sorted(record.counted(), key=lambda stage: (stage.has_rates, stage.summary.answered_per_s)):
        for model, figures in stage.models.items():
            if has(figures):
                best[model] = (stage, model, figures)
    return list(best.values())
