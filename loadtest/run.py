"""One run of a plan, from looking whether anybody is there to the record."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from clients.headers import Headers
from loadtest import record as records
from loadtest.conditions import conditions_of, record_name
from loadtest.draft import WARM_UP, Draft
from loadtest.generator import Generator
from loadtest.headers import with_secrets
from loadtest.kept import KeptGenerator
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.samples import OK, SampleReader
from loadtest.sampling.collected import Collected
from loadtest.sampling.device import Device
from loadtest.sampling.machine import Listeners, Machine
from loadtest.sampling.ticking import Ticking
from loadtest.saturation import Saturation
from loadtest.scratch import scratch
from loadtest.stages import uncertain
from loadtest.target import Target, target_of
from loadtest.timetable import UNTIL_READ_S, Entry, Timetable, timetable_from_loads
from loadtest.validity import Events, Told
from loadtest.warming import is_warm
from loadtest.watching import Servers
from vision.errors import InvalidArgument

LOOK_S = 0.1
WRITE_S = 2.0
START_S = 60.0
"""For Locust to send its first request: it makes its photos first, and Triton's pixels."""
END_S = 10.0
"""For Locust to end, beyond the time of its last requests."""
LAST_S = 0.5
"""Between the end of one of the generator's processes and that of the whole, which can say why."""
SHORT_S = 2.0
"""The same, of a run that is invalid already."""
SILENCE_S = 10.0
"""Without a single answer a run is ended."""


Progress = Callable[[str, float, float], None]
"""Told again and again: what is going on, seconds of it that have passed, and that there are."""


def run(
    plan: Plan, folder: Path, *, stop: threading.Event | None = None, on_progress: Progress = lambda *_: None,
    kept: KeptGenerator | None = None,
) -> Record:  # fmt: skip
    """Run it; `stop` ends it before its time. The record is `folder`/NAME.json, unfinished from the beginning on.

    `kept` is the generator of the runs before and after; one that is invalid leaves none.

    Raises:
        BackendUnavailable, ModelNotReady: nobody can be asked.
        InvalidArgument: there is no such template or secret, or `folder` cannot be written into.
    """
    headers = with_secrets(plan.told_headers())
    target = target_of(plan, headers)
    try:
        record = _Run(plan, target, folder, stop or threading.Event(), on_progress, headers, kept).run()
        if kept is not None and record.invalid:
            kept.drop()
        return record
    except BaseException:
        if kept is not None:
            kept.drop()
        raise
    finally:
        target.close()


class _Run:
    def __init__(
        self, plan: Plan, target: Target, folder: Path, stop: threading.Event, on_progress: Progress, headers: Headers,
        kept: KeptGenerator | None,
    ) -> None:  # fmt: skip
        self._plan, self._target, self._stop, self._on_progress = plan, target, stop, on_progress
        self._headers, self._kept = headers, kept
        began = datetime.now(UTC)
        self._events = Events()
        began_s = time.monotonic()
        self._collected = Collected(began_s)
        self._device = Device(self._collected)
        conditions = conditions_of(plan, target.models, target.server, self._device.source)
        if target.notes:
            conditions["notes"] = list(target.notes)
        name = record_name(plan, target.versions, began.strftime("%Y%m%dT%H%M%S.%fZ"))
        self._draft = Draft(
            name, plan, began.isoformat(timespec="milliseconds"), began_s, conditions, self._collected, self._events
        )
        self._path = folder / f"{name}.json"
        self._write_due_s = 0.0

    def run(self) -> Record:
        with ExitStack() as stack:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                samples_folder = stack.enter_context(scratch(self._path.parent))
            except OSError as exc:
                where = f"{self._path.parent}: {exc.strerror}"
                raise InvalidArgument(f"expected a folder that records can be written into, got {where}") from exc
            self._reader = SampleReader(samples_folder)
            self._write(finished=False)
            stack.callback(self._device.close)
            self._servers = Servers(self._target, self._collected, self._events)
            stack.callback(self._servers.close)
            first = self._plan.loads()[0]
            now_s = time.monotonic()
            self._change(Timetable((Entry(WARM_UP, first.users, first.rate_per_s, now_s, None),)), None)
            if self._kept is None:
                self._generator = Generator(self._plan, samples_folder, self._draft.timetable, self._headers)
                stack.callback(self._generator.stop)
            else:
                self._generator, self._reader = self._kept.begin(self._plan, self._headers, self._draft.timetable)
            machine = Machine(self._collected, self._groups())
            stack.callback(Ticking("machine", machine.look, 1.0).close)
            self._measure()
        self._draft.throttled = dict(self._device.throttled)
        return self._write(finished=True)

    def _measure(self) -> None:
        if self._warmed_up():
            begin_s = time.monotonic() + UNTIL_READ_S
            stages = timetable_from_loads(self._plan.loads(), begin_s)
            warm_up = replace(self._draft.timetable.entries[0], end_s=begin_s)
            self._change(Timetable((warm_up, *stages.entries)), self._generator)
            self._follow()
        else:
            self._change(self._draft.timetable.cut(time.monotonic()), self._generator)
        self._finish()

    def _warmed_up(self) -> bool:
        """True when the stages may begin."""
        warm_up, start_s = self._plan.warm_up, time.monotonic()
        first_s: float | None = None
        while self._goes_on(WARM_UP, time.monotonic() - start_s, warm_up.at_most_s):
            samples, now_s = self._reader.read(), time.monotonic()
            if first_s is None:
                if len(samples.rows) and self._all_begun():
                    first_s = now_s
                    self._draft.conditions = {**self._draft.conditions, "images": self._reader.images()}
                elif now_s - start_s > START_S + self._plan.timeout_s:
                    self._events.add(f"the generator sent nothing within {START_S:g} s: {self._generator.said()}")
                    return False
                continue
            spent_s = now_s - first_s
            if spent_s >= warm_up.at_most_s:
                if warm_up.at_most_s:
                    self._draft.conditions = {**self._draft.conditions, "warm": False}
                return True
            if spent_s >= warm_up.at_least_s and is_warm(warm_up, samples, now_s):
                self._draft.conditions = {**self._draft.conditions, "warm": True}
                return True
        return False

    def _follow(self) -> None:
        """Until the timetable is over, the server saturated, or the run at an end for another reason."""
        saturation = None if self._plan.steps is None else Saturation(self._plan.slo)
        last_s = self._draft.timetable.entries[-1].end_s or 0.0
        begin_s = self._draft.timetable.entries[0].end_s or 0.0
        judged = 0
        while (now_s := time.monotonic()) < last_s:
            entries = self._draft.timetable.entries
            current = self._draft.timetable.at(now_s)
            name = entries[current].name if current is not None else ""
            if not self._goes_on(name, now_s - begin_s, last_s - begin_s) or self._is_silent():
                self._cut(now_s)
                return
            if name and name not in self._draft.looks:
                self._draft.looks[name] = self._servers.look()
            if saturation is not None and current is not None and current - 1 > judged:
                judged = current - 1  # the steps before have ended
                entry, samples = entries[judged], self._reader.read()
                stage = next(
                    stage
                    for stage in self._draft.record(samples, now_s, finished=False).stages
                    if stage.name == entry.name
                )
                if saturation.is_reached(stage):
                    self._cut(now_s)
                    return

    def _goes_on(self, what: str, spent_s: float, whole_s: float) -> bool:
        """Wait a moment, see to the record, and say whether anything ended the run."""
        self._on_progress(what, spent_s, whole_s)
        if self._stop.wait(LOOK_S):
            self._events.add("interrupted")
        elif self._generator.status is not None or ((lost := self._lost_processes()) and self._generator.wait(LAST_S)):
            self._events.add(f"the generator ended (status {self._generator.status}): {self._generator.said()}")
        elif lost:
            self._events.add(f"{lost} of the generator's processes ended")
        elif not self._events.reasons:  # it is invalid otherwise, and more of it would be, too
            try:
                if time.monotonic() >= self._write_due_s:
                    self._write(finished=False)
            except OSError as exc:  # the samples' folder goes, and makes room, before the last record is written
                self._events.add(f"the record could not be written while the run went on: {exc.strerror}")
                return False
            return True
        return False

    def _all_begun(self) -> bool:
        """Whether every process of the generator that has users asks; of a low rate it may be long until each does."""
        if self._plan.is_open:
            return len(self._reader.pids()) >= self._plan.processes
        return self._reader.begun() >= min(self._plan.processes, self._plan.loads()[0].users or 1)

    def _lost_processes(self) -> int:
        return sum(not _is_alive(pid) for pid in self._reader.pids())

    def _is_silent(self) -> bool:
        """Whether all has failed for so long that all will."""
        self._reader.look()
        if self._reader.silence_s < SILENCE_S:
            return False
        self._events.add(f"nobody answered well for {SILENCE_S:g} s")
        return True

    def _cut(self, now_s: float) -> None:
        """End the timetable now; a step that was going on does not count."""
        current = self._draft.timetable.at(now_s)
        if current is not None and self._plan.steps is not None:
            self._draft.cut.add(self._draft.timetable.entries[current].name)
        self._change(self._draft.timetable.cut(now_s), self._generator)

    def _finish(self) -> None:
        """Let requests be answered, and compare what was counted."""
        # A process that was killed never says that it is done, and more answers do not make an invalid run valid.
        patience_s = SHORT_S if self._events.reasons else self._plan.timeout_s + END_S
        deadline_s = time.monotonic() + patience_s
        if self._events.reasons and self._generator.status is None and self._stop.is_set():
            deadline_s = time.monotonic()  # whoever interrupts does not want to wait
        while self._is_busy() and time.monotonic() < deadline_s and not self._stop.is_set():
            self._on_progress("last answers", 0.0, 0.0)
            self._stop.wait(LOOK_S)
        if self._kept is None or self._is_busy():
            self._generator.stop(SHORT_S if self._events.reasons else END_S)
        samples = self._reader.read()
        came = {"all": int(samples.are(OK).sum())}
        look = self._servers.settled(came)
        self._draft.looks["end"] = look
        for who in self._servers.missing(look):
            self._events.add(f"{who} was gone at the end: what it counted is not known")
        kinds = {kind: int(samples.are(kind).sum()) for kind in samples.outcomes if kind != OK}
        failed = {kind: count for kind, count in kinds.items() if count}  # a kept generator knows others
        for who, answered in self._servers.answered(look).items():
            self._draft.server_answered = answered
            problem = Told(who, answered, came["all"], uncertain(failed)).problem()
            if problem is not None:
                self._events.add(problem)
        self._draft.conditions = {
            **self._draft.conditions,
            "counts": {"came": came["all"], "failed": failed, "counted": self._servers.answered(look)},
        }
        if self._reader.said:
            self._draft.conditions = {**self._draft.conditions, "said": self._reader.said}

    def _is_busy(self) -> bool:
        """Whether the generator has something to do or to wait for yet."""
        is_through = self._generator.stays and self._generator.is_through(self._draft.timetable)
        return self._generator.status is None and not is_through

    def _change(self, timetable: Timetable, generator: Generator | None) -> None:
        self._draft.timetable = timetable
        if generator is not None:
            try:
                generator.change(timetable)
            except OSError as exc:
                self._events.add(f"the generator could not be told what to do: {exc.strerror}")

    def _groups(self) -> dict[str, Callable[[], list[psutil.Process]]]:
        groups: dict[str, Callable[[], list[psutil.Process]]] = {"generator": self._generator.processes}
        return groups | {name: Listeners(port) for name, port in self._target.ports.items()}

    def _write(self, *, finished: bool) -> Record:
        began_s = time.monotonic()
        samples = self._reader.read()
        record = self._draft.record(samples, began_s, finished=finished)
        records.write(self._path, record)
        # A long record takes long to write: it must not take the time of what is measured.
        self._write_due_s = time.monotonic() + max(WRITE_S, 20 * (time.monotonic() - began_s))
        return record


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
