"""TLS as a target asks for it, and as a server turns out to speak it where the URL says ``http``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import say

if TYPE_CHECKING:
    import ssl

    from otel_distro.export.send.endpoint import OtlpEndpoint

_PATIENCE = 2.0
_PAUSE = 60.0


def new_context(endpoint: OtlpEndpoint) -> ssl.SSLContext:
    """Return what checks the server's certificate and shows ours. Raises :class:`OSError` for a file that is no good."""
    import ssl

    made = ssl.create_default_context(cafile=endpoint.ca_file)
    if endpoint.certificate_file:
        made.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    return made


class TlsProbe:
    """Finds out whether a server that makes nothing of plain HTTP speaks TLS. One for a target; one thread at a time."""

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        self._endpoint = endpoint
        self._next = 0.0
        self.context: ssl.SSLContext | None = None
        """How to speak with the server, once it is known that it wants TLS."""

    def probe(self, host: str, port: int, timeout: float) -> bool:
        """Ask for a handshake, at most once a minute; return whether TLS is to be spoken from now on.

        It takes about ``timeout`` seconds at most, and not more than two. A certificate that proves nothing is as good as the
        plain text that the user has chosen, and is said.
        """
        now = time.monotonic()
        if self.context is not None or now < self._next:
            return False
        self._next = now + _PAUSE
        try:
            self.context, remark = self._greet(host, port, min(timeout, _PATIENCE))
        except OSError:
            # No TLS, or files of ours that are no good, which the check of the environment tells.
            return False
        say(
            f"{self._endpoint.origin} speaks TLS: telemetry goes there encrypted{remark}; the endpoint should begin with https://",
            cause=f"tls {self._endpoint.origin}",
        )
        return True

    def _greet(self, host: str, port: int, timeout: float) -> tuple[ssl.SSLContext, str]:
        """Return what a handshake came about with, and a remark on it. Raises :class:`OSError` where none does."""
        import ssl

        checked = new_context(self._endpoint)
        try:
            checked.wrap_socket(threads.connect((host, port), timeout), server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            remark = f", without checking its certificate ({error.verify_message})"
        else:
            return checked, ""
        unchecked = new_context(self._endpoint)
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        unchecked.wrap_socket(threads.connect((host, port), timeout), server_hostname=host).close()
        return unchecked, remark
