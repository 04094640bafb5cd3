"""Workers of uvicorn have more time for their first sign of life: telemetry starts in them too.

uvicorn kills a worker that does not answer within five seconds, also one that is still importing,
and starts another, which takes as long: on a slow machine no worker ever serves.
"""

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MORE_TIME_S = 30.0
_FIRST_PING = "_otel_distro_first_ping"


def patch(module: "Any") -> None:
    """Let a worker that has never answered count as alive for half a minute.

    Args:
        module: ``uvicorn.supervisors.multiprocess``. Without the method in question, as in releases
            before 0.30, nothing changes.
    """
    original: Callable[..., bool] | None = getattr(getattr(module, "Process", None), "ping", None)
    if original is None:
        return

    def ping(self: "Any", *args: "Any", **kwargs: "Any") -> bool:
        first: float = vars(self).setdefault(_FIRST_PING, time.monotonic())
        if original(self, *args, **kwargs):
            vars(self)[_FIRST_PING] = 0.0
            return True
        return bool(first) and time.monotonic() - first < _MORE_TIME_S

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(ping, name, getattr(original, name))
    ping.__wrapped__ = original  # type: ignore[attr-defined]
    module.Process.ping = ping
