"""Operations of the process become audit events, once, bounded, without affecting it."""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_distro import schema
from otel_distro._startup import audit_hook, audit_rules
from otel_distro.instrumentation import security_audit
from otel_distro.instrumentation.security_audit import EVENTS, SecurityAuditInstrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_distro.testing import Telemetry

KINDS = schema.AUDIT_NAME.name


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """A function that installs the instrumentor with these settings."""

    def start(kinds: str, **settings: str) -> None:
        monkeypatch.setenv("OTEL_DISTRO_AUDIT_KINDS", kinds)
        for name, value in settings.items():
            monkeypatch.setenv(f"OTEL_DISTRO_AUDIT_{name}", value)
        SecurityAuditInstrumentor().instrument()

    yield start
    if SecurityAuditInstrumentor().is_instrumented_by_opentelemetry:
        SecurityAuditInstrumentor().uninstrument()


def audit_events(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Uninstall, which emits queued events; return attributes and name (``event``) of all."""
    SecurityAuditInstrumentor().uninstrument()
    return [{**(found.log_record.attributes or {}), "event": found.log_record.event_name} for found in telemetry.logs()]


def targets(telemetry: Telemetry, event: schema.Event) -> list[Any]:
    """Return the targets of the events with this name."""
    return [each["audit.target"] for each in audit_events(telemetry) if each["event"] == event.name]


def make(folder: Path, *names: str) -> list[str]:
    """Create files and return their paths."""
    paths = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
        paths.append(str(path))
    return paths


def test_opening_a_sensitive_file_is_audited(
    audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path
) -> None:
    """By any function that opens files; not for public keys, samples and modules."""
    sensitive = make(
        tmp_path, "id_rsa", "app/.env", ".aws/credentials", "deep/.ssh/any", "tls/server.key", "x/db.token"
    )
    harmless = make(tmp_path, "notes.txt", "app/.env.example", ".ssh/known_hosts", "credentials.py", "keys/id_rsa.txt")
    audited("files")
    for path in harmless:
        open(path).close()
    open(sensitive[0]).close()
    open(os.fsencode(sensitive[1])).close()
    pathlib.Path(sensitive[2]).read_bytes()
    os.close(os.open(sensitive[3], os.O_RDWR))
    with open(sensitive[4], "a", encoding="utf-8"):
        pass
    os.close(os.open(pathlib.Path(sensitive[5]), os.O_RDONLY))
    with pytest.raises(FileNotFoundError):
        os.open("/etc/shadow.not.there", os.O_RDONLY)
    found = audit_events(telemetry)
    assert [each["audit.target"] for each in found] == [*sensitive, "/etc/shadow.not.there"]
    assert [each["audit.reason"].rpartition(" ")[2] for each in found] == [
        "reading", "reading", "reading", "writing", "writing", "reading", "reading",
    ]  # fmt: skip
    assert found[0] == {
        "event": "audit.file.sensitive",
        "audit.name": "file.sensitive",
        "audit.outcome": "unknown",
        "audit.target": sensitive[0],
        "audit.reason": "opened for reading",
        "audit.source": "interpreter",
        "file.path": sensitive[0],
    }


def test_relative_path_is_resolved_by_the_working_folder(
    audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is sensitive or not depending on the folder at the time of opening."""
    (secret, plain) = make(tmp_path, ".ssh/data", "other/data")
    monkeypatch.chdir(os.path.dirname(plain))
    audited("files")
    open("data").close()
    os.chdir(os.path.dirname(secret))
    open("data").close()
    assert targets(telemetry, schema.AUDIT_FILE_SENSITIVE) == [secret]


def test_file_globs_add_and_exclude(audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path) -> None:
    """Globs add files, `!` excludes, the last match decides, and `!*` clears the list."""
    paths = make(tmp_path, "id_rsa", "a.secret", "b.secret", "vault/x")
    audited("files", FILES=f"!*, *.secret ,!b.*,{tmp_path}/vault/*")
    for path in paths:
        open(path).close()
    assert targets(telemetry, schema.AUDIT_FILE_SENSITIVE) == [paths[1], paths[3]]


def test_starting_a_program_is_audited_once(audited: Callable[..., None], telemetry: Telemetry) -> None:
    """By any function, with its arguments and without its environment."""
    audited("processes")
    subprocess.run(["true", b"one", pathlib.Path("two")], check=True)
    subprocess.run("true three", shell=True, check=True, close_fds=False)
    os.system("true four")
    os.waitpid(os.posix_spawn("/bin/true", ["true", "five"], {"SECRET": "x"}), 0)
    found = audit_events(telemetry)
    assert [(each["audit.target"], each["process.command_args"]) for each in found] == [
        ("true", ("true", "one", "two")),
        ("/bin/sh", ("/bin/sh", "-c", "true three")),
        ("sh", ("sh", "-c", "true four")),
        ("/bin/true", ("true", "five")),
    ]
    assert {each["event"] for each in found} == {"audit.process.start"}


def test_first_connection_to_a_peer_is_audited(audited: Callable[..., None], telemetry: Telemetry) -> None:
    """Later connections to the same peer are not audited."""
    audited("connections")
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]
        for port in (*ports, *ports):
            socket.create_connection(("127.0.0.1", port)).close()
        with suppress_instrumentation():
            socket.create_connection(("127.0.0.1", ports[0])).close()
    with socket.socket(socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
        unix.connect("/not/there")
    found = audit_events(telemetry)
    assert [each["audit.target"] for each in found] == [*(f"127.0.0.1:{port}" for port in ports), "unix:/not/there"]
    assert (found[0]["network.peer.address"], found[0]["network.peer.port"]) == ("127.0.0.1", ports[0])
    assert "network.peer.port" not in found[2]


def test_eval_exec_and_compile_are_audited_by_location(audited: Callable[..., None], telemetry: Telemetry) -> None:
    """Calls of the application are audited; those of the standard library are not."""
    from collections import namedtuple
    from dataclasses import make_dataclass

    audited("dynamic_code")
    namedtuple("Made", "a b")  # noqa: PYI024 - it calls exec
    make_dataclass("Made", ["a"])
    eval("1 + 1")
    exec("x = 1")
    compile("y = 2", "made", "exec")
    found = audit_events(telemetry)
    assert [each["audit.reason"] for each in found] == ["5 characters"] * 3
    assert {each["code.file.path"] for each in found} == {__file__}
    assert {each["code.function.name"] for each in found} == {"test_eval_exec_and_compile_are_audited_by_location"}
    line = found[0]["code.line.number"]
    assert [each["audit.target"] for each in found] == [f"{__file__}:{line + more}" for more in range(3)]


def test_native_library_and_temporary_module_are_audited(
    audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctypes libraries and modules in temporary folders; not the program's own symbols."""
    (path,) = make(tmp_path, "made_for_the_audit.py")
    (tmp_path / "made_for_the_audit.py").write_text("X = 1\n", encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    audited("native_libraries,tmp_modules")
    ctypes.CDLL(None)
    with pytest.raises(OSError, match="not_there"):
        ctypes.CDLL("libnot_there.so")
    __import__("made_for_the_audit")
    found = audit_events(telemetry)
    assert [(each["event"], each["audit.target"]) for each in found] == [
        ("audit.code.native", "libnot_there.so"),
        ("audit.code.temporary", path),
    ]


def test_privilege_changes_are_audited_without_the_hook(audited: Callable[..., None], telemetry: Telemetry) -> None:
    """By default they are audited with their outcome, and the audit hook handles no event."""
    audited("privileges")
    assert not {"open", "subprocess.Popen", "exec"} & audit_hook._handlers.keys()
    os.setgid(os.getgid())
    error: OSError | None = None
    try:
        os.setns(10**6)  # type: ignore[attr-defined,unused-ignore]
    except (OSError, AttributeError) as failure:
        error = failure if isinstance(failure, OSError) else None
    found = audit_events(telemetry)
    assert (found[0]["audit.target"], found[0]["audit.outcome"]) == (f"setgid {os.getgid()}", "success")
    if error is not None:
        assert (found[1]["audit.outcome"], found[1]["audit.reason"]) == ("failure", error.strerror)
    assert not hasattr(os.setgid, "__wrapped__")


def test_chmod_with_setuid_is_audited(audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path) -> None:
    """With the hook, ``chmod`` with the setuid bit is audited, other modes are not."""
    (path,) = make(tmp_path, "program")
    audited("privileges,native_libraries")
    os.chmod(path, 0o755)
    os.chmod(path, 0o4755)
    assert targets(telemetry, schema.AUDIT_PRIVILEGE_CHANGE) == [f"chmod 4755 {path}"]


def test_kinds_off_and_unknown_kind(
    audited: Callable[..., None], telemetry: Telemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    """`off` audits nothing; an unknown kind is named in one line and the others apply."""
    assert audit_rules.kinds_wanted({"OTEL_DISTRO_AUDIT_KINDS": "off"}) == frozenset()
    assert audit_rules.kinds_wanted({"OTEL_DISTRO_AUDIT_KINDS": "ALL"}) == frozenset(EVENTS)
    audited("files,fils")
    assert capfd.readouterr().err.count("unknown kind 'fils' ignored") == 1
    open("/etc/passwd").close()
    assert targets(telemetry, schema.AUDIT_FILE_SENSITIVE) == ["/etc/passwd"]


def test_event_has_the_trace_in_which_it_happened(audited: Callable[..., None], telemetry: Telemetry) -> None:
    """Although another thread emits it."""
    audited("files")
    with trace.get_tracer("made").start_as_current_span("work") as span:
        open("/etc/passwd").close()
    audit_events(telemetry)
    (log,) = (found.log_record for found in telemetry.logs())
    assert (log.trace_id, log.span_id) == (span.get_span_context().trace_id, span.get_span_context().span_id)


def test_events_beyond_the_rate_limit_are_counted(
    audited: Callable[..., None], telemetry: Telemetry, tmp_path: Path
) -> None:
    """The limit applies per file and minute; suppressed events are counted."""
    first, second = make(tmp_path, "id_rsa", "id_dsa")
    audited("files", RATE_LIMIT="5")

    def flood() -> None:
        for _ in range(2000):
            sys.audit("open", first, "r", 0)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    open(second).close()
    (point,) = telemetry.metric(schema.AUDIT_EVENTS_RATE_LIMITED.name)
    assert dict(point.attributes) == {KINDS: "file.sensitive"}
    found = targets(telemetry, schema.AUDIT_FILE_SENSITIVE)
    assert found.count(second) == 1
    # Concurrent threads may exceed the limit slightly.
    assert 5 <= found.count(first) <= 8
    assert found.count(first) + point.value == 8000


HOSTILE: list[tuple[Any, ...]] = [
    ("open",), ("open", None, None, None), ("open", 5, "r", 0), ("open", "/etc/passwd", "r", None), ("open", [], "r", 0),
    ("open", "\ud800id_rsa/id_rsa", "r", 0), ("open", b"\xff/id_rsa", "r", 0), ("open", "x" * 10**6, "r", 0),
    ("subprocess.Popen", None, None, None, None), ("subprocess.Popen", object(), [object(), 3, ""], None, None),
    ("os.system", 7), ("os.posix_spawn", None, 5, None), ("pty.spawn", []), ("pty.spawn", "sh"),
    ("socket.connect", None, None), ("socket.connect", None, ([], {})), ("socket.connect", None, (b"x", 1)),
    ("socket.sendto", None, ("a" * 10**5, 2)), ("compile", None, None), ("compile", object(), 3), ("exec", None),
    ("import", None, None, None, None, None), ("import",), ("ctypes.dlopen", object()), ("ctypes.dlopen",),
    ("os.chmod", None, "x", None), ("os.setxattr", None, None, None, None), ("os.chdir",),
]  # fmt: skip


def test_hook_with_malformed_events_never_raises(
    audited: Callable[..., None], telemetry: Telemetry, swallowed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed events pass; a failure of the hook is reported, not raised."""
    audited("all")
    for event in HOSTILE:
        sys.audit(*event)
    audit_events(telemetry)
    swallowed.clear()
    audited("files")
    monkeypatch.setattr(audit_rules.Limit, "allow", "not callable")
    open("/etc/passwd").close()
    audit_events(telemetry)
    assert swallowed == ["processing an audit event: TypeError: 'str' object is not callable"]
    swallowed.clear()


def test_exception_of_signal_handler_in_the_hook_is_raised(
    audited: Callable[..., None], telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that raises while the hook runs interrupts the application."""
    audited("files")

    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError("of the application")

    before = signal.signal(signal.SIGUSR1, interrupt)
    monkeypatch.setattr(audit_hook, "enqueue", lambda *_: signal.raise_signal(signal.SIGUSR1))
    try:
        with pytest.raises(TimeoutError, match="of the application"):
            os.open("/etc/passwd", os.O_RDONLY)
    finally:
        signal.signal(signal.SIGUSR1, before)


def change_group() -> None:
    """Change the group to what it is, and emit the queued events."""
    os.setgid(os.getgid())
    security_audit._emitter.drain()


CONTRACT = Contract(
    change_group,
    inside="otel_distro.instrumentation.security_audit._emit",
    names={schema.AUDIT_PRIVILEGE_CHANGE.name, schema.AUDIT_EVENTS.name},
    suppressible=True,
)
