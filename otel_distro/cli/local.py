"""``otel-distro local -- python app.py``: telemetry of one run, kept and shown on this machine.

The program's input, output, exit code and signals stay unchanged. This module imports only what
starting the program needs; receiver and store load in a thread while the program boots.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from otel_distro import schema, settings
from otel_distro.cli.messages import say, say_conflict
from otel_distro.cli.run import environment
from otel_distro.local.child import Child, Outcome, end_like, exit_code_of
from otel_distro.local.loopback import LOOPBACK, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, MutableMapping, Sequence

    from otel_distro.local.session import Session

_OWN_FAILURE: Final = 125
_SIGNALS: Final = ("TRACES", "METRICS", "LOGS")
_OVERRULED: Final = ("ENDPOINT", "PROTOCOL", "HEADERS", "INSECURE", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
_METRIC_INTERVAL_MS: Final = "2000"


def main(argv: list[str]) -> int:
    """Run the command in ``argv`` and return its exit code; die of the signal it dies of.

    Exit codes: 125 if this command itself failed, 126 if the program cannot be executed, 127 if it
    was not found.
    """
    options = _parse(argv)
    try:
        listener = listen(options.port)
    except OSError as error:
        say(
            f"local: cannot listen on {LOOPBACK} port {options.port}: {error.strerror}; omit --port to use a free one",
            code="OD803",
        )
        return _OWN_FAILURE
    run_id = os.urandom(8).hex()
    endpoint = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    try:
        child = Child(options.command, local_environment(os.environ, endpoint, run_id))
    except OSError as error:
        reason = "command not found" if isinstance(error, FileNotFoundError) else error.strerror
        say(f"local: {options.command[0]}: {reason}", code="OD802")
        return exit_code_of(error)
    backend = _Backend(options, listener, run_id)
    backend.start()
    outcome = child.wait()
    backend.join()
    backend.finish(outcome)
    return end_like(outcome)


def local_environment(base: Mapping[str, str], endpoint: str, run_id: str) -> dict[str, str]:
    """Return ``base`` changed so that Python processes send all telemetry to ``endpoint`` only.

    A signal that the user switched off (exporter ``none``) stays off.
    """
    environ = dict(base)
    for kind in _OVERRULED:
        for signal in ("", *(f"{name}_" for name in _SIGNALS)):
            environ.pop(f"OTEL_EXPORTER_OTLP_{signal}{kind}", None)
    for signal in _SIGNALS:
        if environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() != "none":
            environ[f"OTEL_{signal}_EXPORTER"] = "otlp"
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    # A short program must show a curve, not one point.
    environ.setdefault("OTEL_METRIC_EXPORT_INTERVAL", _METRIC_INTERVAL_MS)
    # The receiver ends with the program: a later run would not deliver what is left on the disk.
    environ.setdefault(settings.OTEL_DISTRO_SPOOL.name, "off")
    attributes = [environ.get("OTEL_RESOURCE_ATTRIBUTES", "").strip(" ,"), f"{schema.RUN_ID.name}={run_id}"]
    environ["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(filter(None, attributes))
    _bypass_proxy(environ)
    return environment(environ)


def _bypass_proxy(environ: MutableMapping[str, str]) -> None:
    """Exclude the receiver from proxies, which cannot reach a loopback port of this machine."""
    if any(name.lower() in ("http_proxy", "all_proxy") for name in environ):
        name = "no_proxy" if "no_proxy" in environ else "NO_PROXY"
        environ[name] = ",".join(filter(None, (environ.get(name, ""), LOOPBACK)))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro local",
        usage="%(prog)s [--name NAME] [--port PORT] [--db FILE] -- COMMAND [ARGUMENT ...]",
        description="Run a program with telemetry and print a summary of it. Nothing leaves this machine.",
    )
    parser.add_argument("--name", default="", help="name of the run (default: the command)")
    parser.add_argument("--port", type=_port, default=0, help="loopback port of the receiver (default: a free one)")
    parser.add_argument("--db", metavar="FILE", help="the store (default: in $XDG_STATE_HOME)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("COMMAND is missing. For example: otel-distro local -- python app.py")
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


class _Backend(threading.Thread):
    """Opens receiver and store beside the running program, which does not depend on them."""

    def __init__(self, options: argparse.Namespace, listener: socket.socket, run_id: str) -> None:
        super().__init__(name="otel-distro-backend", daemon=True)
        self._options = options
        self._listener = listener
        self._run_id = run_id
        self._session: Session | None = None

    def run(self) -> None:
        try:
            from otel_distro.local.session import Session

            self._session = Session(
                self._listener, self._options.db, self._run_id, self._options.name, self._options.command, say
            )
        except Exception as error:
            # Closed, so that the program's exporters fail at once instead of waiting for a
            # response.
            self._listener.close()
            say(
                f"local: the receiver did not start, this run's telemetry is lost: {type(error).__name__}: {error}",
                code="OD804",
            )
            say_conflict("local: telemetry is off in this environment", missing=True)

    def finish(self, outcome: Outcome) -> None:
        """Write the summary to stderr."""
        if self._session is None:
            return
        try:
            arrived = self._session.finish(outcome, sys.stderr)
            if not arrived:
                say_conflict("local: telemetry is off in this environment", missing=True)
        except Exception as error:
            say(f"local: no summary: {type(error).__name__}: {error}", code="OD805")
