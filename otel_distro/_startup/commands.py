"""Commands of click that serve: they start no telemetry, what they serve does.

The command that starts the workers of a server would otherwise build the SDK before them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SERVERS: "dict[str, tuple[str, ...]]" = {
    "arq": (),
    "celery": ("beat", "events", "worker"),
    "dagster": ("dev",),
    "fastapi_cli": ("dev", "run"),
    "flask": ("run",),
    "flower": (),
    "granian": (),
    "hypercorn": (),
    "litestar": ("run",),
    "mlflow": ("server", "ui"),
    "quart": ("run",),
    "rq": ("cron", "worker", "worker-pool"),
    "rq_scheduler": (),
    "streamlit": ("run",),
    "uvicorn": (),
}
"""Package of a server or worker -> its commands that serve; empty where all of them do."""


def is_left_out(command: "Any", context: "Any") -> bool:
    """Return whether the command is one of :data:`SERVERS`, or a group that calls a subcommand."""
    if getattr(context, "invoked_subcommand", None) is not None:
        return True
    package = str(getattr(getattr(command, "callback", None), "__module__", "")).partition(".")[0]
    names = SERVERS.get(package)
    return names is not None and (not names or command.name in names or context.info_name in names)
