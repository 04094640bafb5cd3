"""TLS contexts, and the detection of servers that expect TLS although the URL says ``http``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import say

if TYPE_CHECKING:
    import ssl

    from otel_distro.export.send.endpoint import OtlpEndpoint

_HANDSHAKE_TIMEOUT_S = 2.0
_PROBE_INTERVAL_S = 60.0


def new_context(endpoint: OtlpEndpoint) -> ssl.SSLContext:
    """Return a context that verifies the server and presents the client certificate, if one is set.

    Raises:
        OSError: A file cannot be read or holds no certificate or key.
    """
    import ssl

    made = ssl.create_default_context(cafile=endpoint.ca_file)
    if endpoint.certificate_file:
        made.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    return made


class TlsProbe:
    """Finds out whether a server that does not answer plain HTTP expects TLS.

    One per endpoint, used by one thread at a time.
    """

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        self._endpoint = endpoint
        self._next_probe = 0.0
        self.context: ssl.SSLContext | None = None
        """The context to connect with, once a handshake has succeeded."""

    def probe(self, host: str, port: int, timeout: float) -> bool:
        """Try a TLS handshake, at most once a minute.

        A certificate that does not verify is accepted and reported: the configured plaintext would
        not have authenticated the server either.

        Args:
            host: The server's host.
            port: The server's port.
            timeout: Seconds that it may take; more than 2 are cut to 2.

        Returns:
            Whether requests are to be sent with TLS from now on.
        """
        now = time.monotonic()
        if self.context is not None or now < self._next_probe:
            return False
        self._next_probe = now + _PROBE_INTERVAL_S
        try:
            self.context, remark = self._handshake(host, port, min(timeout, _HANDSHAKE_TIMEOUT_S))
        except OSError:
            # No TLS, or unusable certificate files, which the check of the environment reports.
            return False
        say(
            f"{self._endpoint.origin} expects TLS: telemetry is sent there encrypted{remark};"
            " let the endpoint begin with https://",
            cause=f"tls {self._endpoint.origin}",
            code="OD324",
        )
        return True

    def _handshake(self, host: str, port: int, timeout: float) -> tuple[ssl.SSLContext, str]:
        """Return the context of a successful handshake, and a remark for the message.

        Raises:
            OSError: The server does not speak TLS.
        """
        import ssl

        verifying = new_context(self._endpoint)
        try:
            verifying.wrap_socket(threads.connect((host, port), timeout), server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            remark = f", without checking its certificate ({error.verify_message})"
        else:
            return verifying, ""
        accepting = new_context(self._endpoint)
        accepting.check_hostname = False
        accepting.verify_mode = ssl.CERT_NONE
        accepting.wrap_socket(threads.connect((host, port), timeout), server_hostname=host).close()
        return accepting, remark
