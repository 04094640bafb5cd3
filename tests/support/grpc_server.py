"""A real gRPC server on loopback that takes every method and hands the bytes to a function."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Handle = Callable[[str, Mapping[str, str], bytes, Any], bytes]


class GrpcServer:
    """Serves until :meth:`stop`. ``handle(method, metadata, body, context)`` returns the answer's bytes or aborts."""

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

    def take(self, method: str, body: bytes, context: Any) -> bytes:
        """Hand a request on."""
        return self._handle(method, dict(context.invocation_metadata()), body, context)

    def stop(self) -> None:
        """Stop to serve and wait for the end of it."""
        self._server.stop(0).wait()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._server.take(details.method, body, context)
        )
