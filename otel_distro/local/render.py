"""A run's summary as text for a terminal."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final, TextIO

from otel_distro._runtime.terminal import Page, cut, duration, memory, plural
from otel_distro.local.failures import last_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_distro.local.summary import ErrorGroup, Events, Summary, Timing

_TOP: Final = 8
_TOP_STATEMENTS: Final = 5
_TOP_ERRORS: Final = 5
_TRACE_LINES: Final = 6
_NUMBERS: Final = 9
_LEVEL_STYLE: Final = {"WARN": "yellow", "ERROR": "red", "FATAL": "red"}


def render(summary: Summary, path: Path | None, drained: bool, environ: Mapping[str, str], stream: TextIO) -> str:
    """Return the summary as text, in the width, colours and symbols of ``stream``.

    ``path`` is the database file, None for memory. ``drained`` False means that not all data was
    stored in time.
    """
    page = Page.of(stream, environ)
    _headline(page, summary)
    _arrived(page, summary)
    _timings(page, "Slowest operations", summary.operations)
    _statements(page, summary.statements)
    _timings(page, "HTTP calls", summary.calls)
    _errors(page, summary.errors, summary.new_errors)
    _levels(page, summary)
    _events(page, summary.events)
    _refused(page, summary.refused)
    _processes(page, summary)
    page.blank()
    for line in _warnings(summary, drained, environ):
        page.line(page.paint("yellow", f"{page.glyphs.warning} {line}"))
    _place(page, summary, path)
    return page.text()


def _headline(page: Page, summary: Summary) -> None:
    run = summary.run
    if run["signal"] is not None:
        ended, style = f"killed by {_signal_name(run['signal'])}", "red"
    elif run["exit_code"] is not None:
        ended, style = f"exit {run['exit_code']}", "red" if run["exit_code"] else "green"
    else:
        ended, style = "still running", "yellow"
    page.rule(f"otel-distro local {page.glyphs.dot} {run['name']}", ended, style)
    if run["end_ns"] is not None:
        page.line(
            f"{duration(run['end_ns'] - run['start_ns'], page.glyphs)}   "
            f"CPU {duration(int(run['cpu_s'] * 1e9), page.glyphs)}   peak memory {memory(run['max_rss'])}"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _arrived(page: Page, summary: Summary) -> None:
    page.heading("Arrived")
    failed = f", {page.paint('red', f'{summary.failed_spans} failed')}" if summary.failed_spans else ""
    page.line(f"  traces   {plural(summary.traces, 'trace')}, {plural(summary.spans, 'span')}{failed}")
    page.line(f"  logs     {plural(summary.logs, 'record')}")
    page.line(
        f"  metrics  {plural(summary.metrics, 'metric')},"
        f" {plural(summary.series, 'series', 'series')}, {plural(summary.points, 'point')}"
    )


def _timings(page: Page, title: str, timings: list[Timing]) -> None:
    if not timings:
        return
    shown = timings[:_TOP]
    failures = any(timing.errors for timing in shown)
    columns = ["count", *(["failed"] if failures else []), "p50", "p95", "max"]
    width = page.width - 2 - _NUMBERS * len(columns)
    page.heading(title, _columns(columns), width)
    for timing in shown:
        values = [str(timing.count)]
        if failures:
            values.append(str(timing.errors or page.glyphs.none))
        times = (timing.percentile(0.5), timing.percentile(0.95), timing.longest)
        values += [duration(time, page.glyphs) for time in times]
        page.line(f"  {cut(timing.name, width, page.glyphs)}{_columns(values)}")
    _more(page, len(timings) - len(shown))


def _statements(page: Page, statements: list[Timing]) -> None:
    if not statements:
        return
    count = sum(statement.count for statement in statements)
    total = sum(statement.total for statement in statements)
    columns = ("count", "total", "max")
    width = page.width - 2 - _NUMBERS * len(columns)
    title = f"SQL {page.glyphs.dot} {plural(count, 'statement')} in {duration(total, page.glyphs)}"
    page.heading(title, _columns(columns), width)
    shown = statements[:_TOP_STATEMENTS]
    for statement in shown:
        times = (duration(time, page.glyphs) for time in (statement.total, statement.longest))
        page.line(f"  {cut(statement.name, width, page.glyphs)}{_columns((str(statement.count), *times))}")
    _more(page, len(statements) - len(shown))


def _columns(values: list[str] | tuple[str, ...]) -> str:
    return "".join(value.rjust(_NUMBERS) for value in values)


def _more(page: Page, count: int) -> None:
    if count > 0:
        page.line(page.paint("dim", f"  and {count} more"))


def _errors(page: Page, errors: list[ErrorGroup], new: int) -> None:
    if not errors:
        return
    count = sum(group.count for group in errors)
    groups = f" in {plural(len(errors), 'group')}" if len(errors) > 1 else ""
    newly = f", {new} new in this version" if new else ""
    page.heading(f"Errors {page.glyphs.dot} {plural(count, 'error')}{groups}{newly}")
    for group in errors[:_TOP_ERRORS]:
        times = f"{group.count} {page.glyphs.times} "
        name = cut(
            f"{group.type}: {group.message}" if group.message else group.type,
            page.width - 2 - len(times),
            page.glyphs,
            pad=False,
        )
        page.line(f"  {times}{page.paint('red', name)}")
        for line in _last_lines(group):
            page.line(page.paint("dim", f"      {cut(line, page.width - 6, page.glyphs, pad=False)}"))
    _more(page, len(errors) - _TOP_ERRORS)


def _last_lines(group: ErrorGroup) -> list[str]:
    """Return the end of the trace, from the application's frame on, without the last line.

    The title holds that one already.
    """
    lines = [line.rstrip()[2:] for line in last_trace(group.stack).splitlines() if line.startswith("  ")]
    path, _, place = group.culprit.partition(" in ")
    file, _, number = path.rpartition(":")
    for index, line in enumerate(lines):
        if f'File "{file}", line {number}, in {place}' in line:
            return [*lines[index : index + _TRACE_LINES - 2], *lines[index + _TRACE_LINES - 2 :][-2:]]
    return lines[-_TRACE_LINES:]


def _levels(page: Page, summary: Summary) -> None:
    if not summary.levels:
        return
    page.heading("Logs")
    shown = (page.paint(_LEVEL_STYLE.get(level, ""), f"{level} {count}") for level, count in summary.levels.items())
    duplicates = f"   {page.paint('dim', f'and {summary.duplicates} duplicates removed')}" if summary.duplicates else ""
    page.line("  " + "   ".join(shown) + duplicates)


def _events(page: Page, events: list[Events]) -> None:
    if not events:
        return
    columns = ("count", "failed")
    width = page.width - 2 - _NUMBERS * len(columns)
    page.heading("Business and audit events", _columns(columns), width)
    for event in events[:_TOP]:
        failed = str(event.failed) if event.failed else page.glyphs.none
        page.line(f"  {cut(event.name, width, page.glyphs)}{_columns((str(event.count), failed))}")
    _more(page, len(events) - _TOP)


def _refused(page: Page, refused: dict[str, int]) -> None:
    if not refused:
        return
    page.heading(f"Refused attempts {page.glyphs.dot} by address", _columns(("count",)), page.width - 2 - _NUMBERS)
    shown = list(refused.items())[:_TOP]
    for address, count in shown:
        page.line(f"  {cut(address, page.width - 2 - _NUMBERS, page.glyphs)}{_columns((str(count),))}")
    _more(page, len(refused) - len(shown))


def _processes(page: Page, summary: Summary) -> None:
    if not summary.processes:
        return
    columns = ("CPU", "memory")
    width = page.width - 2 - _NUMBERS * len(columns)
    page.heading("Processes", _columns(columns), width)
    for process in summary.processes[:_TOP]:
        cpu = page.glyphs.none if process.cpu_s is None else duration(int(process.cpu_s * 1e9), page.glyphs)
        peak = page.glyphs.none if process.peak_memory is None else memory(process.peak_memory)
        page.line(f"  {cut(process.name, width, page.glyphs)}{_columns((cpu, peak))}")
    _more(page, len(summary.processes) - _TOP)


def _warnings(summary: Summary, drained: bool, environ: Mapping[str, str]) -> list[str]:
    lines = []
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        lines.append("OTEL_SDK_DISABLED=true switched telemetry off")
    elif not (summary.spans or summary.logs or summary.points):
        lines.append("nothing arrived; only Python programs that are not killed send telemetry")
    else:
        for name, count in (("traces", summary.spans), ("logs", summary.logs), ("metrics", summary.points)):
            variable = f"OTEL_{name.upper()}_EXPORTER"
            off = environ.get(variable, "").strip().lower() == "none"
            if not count:
                lines.append(f"no {name} arrived" + (f" ({variable}=none)" if off else ""))
    lines += [f"{signal}: {reason} ({n})" for signal, reason, n in summary.dropped]
    if not drained:
        lines.append("not everything was stored in time, so these numbers are too low")
    return lines


def _place(page: Page, summary: Summary, path: Path | None) -> None:
    if path is None:
        page.line("Kept in memory only, gone now.")
        return
    home = os.path.expanduser("~")
    shown = str(path.absolute())
    if shown.startswith(home + os.sep):
        shown = "~" + shown[len(home) :]
    page.line(page.paint("dim", f"Stored in {page.clean(shown)}, run {summary.run['id']}"))
    page.rule("", "", "dim")
