"""The summary: right numbers, readable on any terminal, safe with any text."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_distro._runtime.terminal import _UNICODE as UNICODE
from otel_distro._runtime.terminal import columns_of, cut, duration, memory
from otel_distro.local.child import Outcome
from otel_distro.local.render import render
from otel_distro.local.runs import Run, without_secrets
from otel_distro.local.store import Store
from otel_distro.local.summary import Summary, collect
from tests.support.otlp import MS, START_NS, Log, Value, gauge, logs, resource, span, traces

SERVER, CLIENT = 2, 3
STACK = (
    'Traceback (most recent call last):\n  File "/srv/shop/app.py", line 7, in pay\n    charge(card)\nDeclined: no\n'
)
DECLINED = {"exception.type": "Declined", "exception.message": "no", "exception.stacktrace": STACK}
RUN = Run("r1", "shop", ["python", "app.py"], START_NS)
ENDED = Outcome(3, None, START_NS, START_NS + 2_310 * MS, 1.25, 84 * 1024 * 1024)

Summarise = Callable[..., Summary]


class Terminal(io.StringIO):
    """A stream with an encoding that may be a terminal."""

    def __init__(self, encoding: str = "utf-8", *, tty: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._tty = tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


def shown(summary: Summary, stream: Terminal | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return the summary as printed to a stream of 100 columns."""
    return render(summary, Path("/state/s.db"), True, {"COLUMNS": "100", **(environ or {})}, stream or Terminal())


@pytest.fixture
def summarise(tmp_path: Path) -> Iterator[Summarise]:
    """A function that stores requests in a run and returns its summary."""
    with Store(tmp_path / "run.db", run_id="r1") as store:
        store.submit(RUN.begin)

        def run(*requests: tuple[str, bytes], outcome: Outcome = ENDED) -> Summary:
            for signal, body in requests:
                assert store.put(signal, body)
            store.submit(lambda db: RUN.finish(db, outcome))
            assert store.flush(20)
            with closing(store.connect()) as connection:
                return collect(connection, "r1")

        yield run


def busy() -> tuple[tuple[str, bytes], ...]:
    """Return the telemetry of a small shop."""
    sql = {"db.system.name": "sqlite", "db.query.text": "SELECT *\nFROM orders WHERE id = ?"}
    old_sql = {"db.system": "mysql", "db.statement": "DELETE FROM cart"}
    call: dict[str, Value] = {"http.request.method": "GET", "server.address": "api.example", "server.port": 8443}
    old_call: dict[str, Value] = {
        "http.method": "POST",
        "http.url": "http://user:pw@old.example/x?token=1",
        "http.status_code": 503,
    }
    spans = [
        *(span(n, "GET /orders/{id}", kind=SERVER, ms=n) for n in range(1, 101)),
        span(200, "import", ms=500, failed=True),
        *(span(300 + n, "SELECT orders", kind=CLIENT, trace=n, ms=2, attributes=sql) for n in range(1, 11)),
        span(320, "DELETE", kind=CLIENT, trace=1, ms=90, attributes=old_sql),
        span(330, "GET", kind=CLIENT, trace=1, ms=5, attributes=call),
        span(331, "POST", kind=CLIENT, trace=1, ms=7, attributes=old_call),
    ]
    records = [Log("x", 9, START_NS + n) for n in range(5)] + [Log("e", 17), Log("old", 0)]
    usage: list[tuple[int, float, dict[str, Value]]] = [
        (START_NS, 40e6, {}),
        (START_NS + 1, 90e6, {}),
        (START_NS + 2, 50e6, {}),
    ]
    cpu = [(START_NS + n, n * 0.5, {"cpu.mode": mode}) for n in range(3) for mode in ("user", "system")]
    process = resource({"process.pid": 4711})
    return (
        ("traces", traces(spans)),
        ("logs", logs(records)),
        ("metrics", gauge("process.memory.usage", usage, process)),
        ("metrics", gauge("process.cpu.time", cpu, process)),
    )


def test_summary_numbers_are_those_of_the_telemetry(summarise: Summarise) -> None:
    """Counts, percentiles, statements by total time, old and new conventions, levels, process."""
    summary = summarise(*busy())
    assert (summary.traces, summary.spans, summary.failed_spans) == (101, 114, 1)
    assert (summary.logs, summary.metrics, summary.series, summary.points) == (7, 2, 3, 9)
    found = [(t.name, t.count, t.errors, *(t.percentile(p) // MS for p in (0.5, 0.95, 1))) for t in summary.operations]
    assert found == [("import", 1, 1, 500, 500, 500), ("GET /orders/{id}", 100, 0, 50, 95, 100)]
    assert [(t.name, t.count, t.total // MS, t.longest // MS) for t in summary.statements] == [
        ("DELETE FROM cart", 1, 90, 90),
        ("SELECT *\nFROM orders WHERE id = ?", 10, 20, 2),
    ]
    assert [(t.name, t.errors) for t in summary.calls] == [("POST old.example", 1), ("GET api.example:8443", 0)]
    assert summary.levels == {"INFO": 5, "ERROR": 1, "no level": 1}
    assert [(p.name, p.peak_memory, p.cpu_s) for p in summary.processes] == [("shop 4711", 90e6, 2.0)]


def test_summary_counts_events_by_name(summarise: Summarise) -> None:
    """Business and audit events are listed with their failures; exceptions are not among them."""
    told = [("order.paid", 9), ("order.paid", 13), ("audit.http.refused", 13), ("order.paid", 9), ("exception", 17)]
    records = [Log(f"{name} {number}", severity, event=name) for number, (name, severity) in enumerate(told)]
    summary = summarise(("logs", logs([*records, Log("a line")])))
    assert [(e.name, e.count, e.failed) for e in summary.events] == [("order.paid", 3, 1), ("audit.http.refused", 1, 1)]
    text = shown(summary)
    assert re.search(r"^Business and audit events +count +failed$", text, re.MULTILINE)
    assert re.search(r"^  order\.paid +3 +1$", text, re.MULTILINE)


def test_summary_counts_new_duplicate_and_refused(summarise: Summarise) -> None:
    """New kinds of errors, duplicates, and refused attempts by client address are counted."""
    failed = {"audit.outcome": "failure"}
    refused: list[dict[str, Value]] = [{**failed, "client.address": f"192.0.2.{n}"} for n in (1, 2, 2)]
    records = [
        Log("old", 17, attributes={**DECLINED, "python.exception.first_seen": False}, event="exception"),
        Log("new", 17, attributes={**DECLINED, "python.exception.first_seen": True}, event="exception"),
        Log("low on paper", 13, attributes={"otel_distro.log.duplicates": 41}),
        *(Log(f"no {n}", 13, attributes=of, event="audit.http.refused") for n, of in enumerate(refused)),
        Log("in", 9, attributes={"audit.outcome": "success", "client.address": "192.0.2.3"}, event="audit.auth.login"),
        Log("out", 13, attributes=failed, event="audit.auth.login"),
    ]
    summary = summarise(("logs", logs(records)))
    assert (summary.new_errors, summary.duplicates) == (1, 41)
    assert list(summary.refused.items()) == [("192.0.2.2", 2), ("192.0.2.1", 1)]
    text = shown(summary)
    assert ", 1 new in this version" in text
    assert "and 41 duplicates removed" in text
    assert re.search(r"^  192\.0\.2\.2 +2$", text, re.MULTILINE)


def test_summary_excludes_other_runs(summarise: Summarise) -> None:
    """Telemetry that names another run is in the store, not in this summary."""
    other = resource({"otel_distro.run.id": "r2"})
    assert summarise(("traces", traces([span(1)])), ("traces", traces([span(2), span(3)], other))).spans == 1


def test_error_recorded_by_nested_spans_counts_once(summarise: Summarise) -> None:
    """An error recorded by two nested spans, and later by a hook, counts once."""
    hook = Log("uncaught", 21, START_NS + MS, attributes=DECLINED)
    summary = summarise(
        ("traces", traces([span(1, "outer", error=DECLINED), span(2, "inner", trace=1, parent=1, error=DECLINED)])),
        ("traces", traces([span(9, error=DECLINED)])),
        ("logs", logs([hook])),
    )
    assert [(g.type, g.message, g.count, g.culprit) for g in summary.errors] == [
        ("Declined", "no", 2, "/srv/shop/app.py:7 in pay")
    ]


def test_summary_text_has_every_section(summarise: Summarise) -> None:
    """Every section has its lines, and no line is wider than requested."""
    text = shown(summarise(*busy(), ("traces", traces([span(999, "pay", error=DECLINED)]))))
    for expected in (
        r"^── otel-distro local · shop ─+ exit 3 ──$",
        r"^2\.31 s   CPU 1\.25 s   peak memory 84 MiB$",
        r"^  traces   102 traces, 115 spans, 2 failed$",
        r"^Slowest operations +count   failed      p50      p95      max$",
        r"^  GET /orders/\{id\} +100        .  50\.0 ms  95\.0 ms   100 ms$",
        r"^SQL · 11 statements in 110 ms +count    total      max$",
        r"^  SELECT \* FROM orders WHERE id = \? +10  20\.0 ms  2\.00 ms$",
        r"^  POST old\.example +1        1  7\.00 ms  7\.00 ms  7\.00 ms$",
        r"^Errors · 1 error$",
        r"^  1 . Declined: no$",
        r'^      File "/srv/shop/app\.py", line 7, in pay$',
        r"^        charge\(card\)$",
        r"^  INFO 5   ERROR 1   no level 1$",
        r"^  shop 4711 +2\.00 s   86 MiB$",
        r"^Stored in /state/s\.db, run r1$",
    ):
        assert re.search(expected, text, re.MULTILINE), (expected, text)
    assert "\x1b" not in text
    assert "arrived" not in text
    for width in (64, 80, 120):
        lines = shown(summarise(*busy()), environ={"COLUMNS": str(width)}).splitlines()
        assert max(columns_of(line) for line in lines) == width


def test_summary_has_colours_only_on_terminals(summarise: Summarise) -> None:
    """Escapes appear on a terminal, and not with NO_COLOR, on a dumb terminal or in a file.

    The words are the same.
    """
    summary = summarise(*busy())
    plain = shown(summary)
    coloured = shown(summary, Terminal(tty=True))
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    assert shown(summary, Terminal(tty=True), {"NO_COLOR": "1"}) == plain
    assert shown(summary, Terminal(tty=True), {"TERM": "dumb"}) == plain


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_summary_in_poor_encoding_is_plain_text(summarise: Summarise, encoding: str) -> None:
    """Characters that the stream cannot encode are replaced, and no line gets wider."""
    text = shown(summarise(("traces", traces([span(1, "Größe 漢字 🎉", error=DECLINED)]))), Terminal(encoding))
    text.encode(encoding)
    assert "-- otel-distro local - shop" in text
    assert "1 x Declined: no" in text


def test_summary_neutralises_control_characters(summarise: Summarise) -> None:
    """Escape sequences, line ends and right-to-left overrides in telemetry become harmless text."""
    evil = "a\x1b]0;title\x07b\r\nc\x9b31m\u202ed"
    error = {**DECLINED, "exception.message": evil, "exception.stacktrace": STACK.replace("charge", evil)}
    statement = {"db.system.name": "x", "db.query.text": evil}
    text = shown(summarise(("traces", traces([span(1, evil, error=error), span(2, attributes=statement)]))))
    assert not re.search(r"[^\n -~─·\u00d7µ\u2013…]", text)
    assert "a?]0;title?b c?31m?d" in text


def test_summary_warns_of_missing_signals(summarise: Summarise) -> None:
    """Missing signals, dropped data and a slow store are reported; a signal switched off is not."""
    summary = summarise(("traces", traces([span(1)])))
    summary.dropped = [("logs", "body not valid", 3)]
    text = render(summary, None, False, {"OTEL_METRICS_EXPORTER": "none"}, Terminal())
    assert "! no logs arrived\n" in text
    assert "! no metrics arrived (OTEL_METRICS_EXPORTER=none)\n" in text
    assert "! logs: body not valid (3)\n" in text
    assert "! not everything was stored in time" in text
    assert "Kept in memory only" in text
    assert "traces arrived" not in text


def test_summary_without_telemetry_has_one_warning(summarise: Summarise) -> None:
    """A run without telemetry has one warning with a hint, or with the known reason."""
    summary = summarise(outcome=Outcome(None, 11, START_NS, START_NS + 1, 0, 0))
    text = shown(summary)
    assert "killed by SIGSEGV" in text
    assert "! nothing arrived" in text
    assert "OTEL_SDK_DISABLED=true" in shown(summary, environ={"OTEL_SDK_DISABLED": "true"})


def test_summary_of_unknown_run_raises(store: Store) -> None:
    """An unknown run raises: an empty summary would look like an idle program."""
    with closing(store.connect()) as connection, pytest.raises(LookupError, match="run nope is not in the store"):
        collect(connection, "nope")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 µs"),
        (999_000, "999 µs"),
        (1_000_000, "1.00 ms"),
        (99_960_000, "100 ms"),
        (12_345_000_000, "12.3 s"),
        (61 * 10**9, "1m 1s"),
        (3_700 * 10**9, "1h 1m"),
    ],
)
def test_durations_have_three_digits(nanoseconds: int, text: str) -> None:
    """Durations are shown from microseconds to hours."""
    assert duration(nanoseconds, UNICODE) == text


def test_memory_and_wide_characters_are_measured() -> None:
    """Units by 1024; wide characters take two columns, combining ones none, when cutting too."""
    assert [memory(n) for n in (0, 1023, 2048, 84 * 2**20, 3 * 2**30)] == [
        "0 B",
        "1023 B",
        "2 KiB",
        "84 MiB",
        "3.0 GiB",
    ]
    assert columns_of("漢e\u0301") == 3
    assert cut("漢漢漢漢", 6, UNICODE) == "漢漢… "
    assert cut("ab", 4, UNICODE) == "ab  "


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["x", "--password", "hunter2", "-v"], ["x", "--password", "***", "-v"]),
        (["x", "--api-key=abc", "API_TOKEN=abc"], ["x", "--api-key=***", "API_TOKEN=***"]),
        (["x", "postgres://u:p@h/db"], ["x", "postgres://***@h/db"]),
        (["x", "--auth", "--next", "value"], ["x", "--auth", "--next", "value"]),
    ],
)
def test_command_line_is_kept_without_secrets(argv: list[str], expected: list[str]) -> None:
    """Values of options and variables that look secret are hidden, and credentials of URLs."""
    assert without_secrets(argv) == expected


def test_run_is_stored_without_secrets(store: Store, query: Callable[..., list[tuple[Any, ...]]]) -> None:
    """The row has what a history of runs needs."""
    run = Run("r9", "n", ["x", "--token=abc"], START_NS)
    store.submit(run.begin)
    store.submit(lambda db: run.finish(db, ENDED))
    assert query("select argv, pid, exit_code, signal, end_ns - start_ns, max_rss from run") == [
        ("x --token=***", os.getpid(), 3, None, 2_310 * MS, 84 * 1024 * 1024)
    ]
