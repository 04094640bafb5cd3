"""A real gRPC server on loopback that accepts every method and passes the bytes to a function."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Handle = Callable[[str, Mapping[str, str], bytes, Any], bytes]


class GrpcServer:
    """Serves until :meth:`stop`.

    ``handle(method, metadata, body, context)`` returns the bytes of the answer, or aborts the call.
    """

    def __init__(self, handle: Handle, credentials: Any = None, port: int = 0, **options: int) -> None:
        self._handle = handle
        self._server: Any = grpc.server(
            ThreadPoolExecutor(8), [_Handler(self)], options=[(f"grpc.{name}", n) for name, n in options.items()]
        )
        address = f"127.0.0.1:{port}"
        self.port: int = (
            self._server.add_secure_port(address, credentials)
            if credentials is not None
            else self._server.add_insecure_port(address)
        )
        self._server.start()

    def call(self, method: str, body: bytes, context: Any) -> bytes:
        """Pass a request to the handler."""
        return self._handle(method, dict(context.invocation_metadata()), body, context)

    def stop(self) -> None:
        """Stop and wait until the server has ended."""
        self._server.stop(0).wait()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._server.call(details.method, body, context)
        )
