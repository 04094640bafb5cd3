"""Exceptions that are no errors, by class: of real libraries, and stand-ins with their names."""

from __future__ import annotations

import asyncio
import builtins
from concurrent.futures import CancelledError, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import click
import grpc
import pytest
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404
from fastapi import HTTPException as FastAPIException
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.websockets import WebSocketDisconnect
from werkzeug import Response
from werkzeug.exceptions import InternalServerError, NotFound, abort
from werkzeug.routing import RequestRedirect

from otel_distro.errors import answers
from tests.support.raising import error_of


class _Failing(HTTPException):
    @property
    def status_code(self) -> Any:
        raise OSError

    @status_code.setter
    def status_code(self, value: int) -> None:
        """Take what the base class sets."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotFound(), "response"),
        (RequestRedirect("/orders/"), "response"),
        (error_of(abort, 403), "response"),
        (error_of(abort, Response("no", 409)), "response"),
        (error_of(abort, Response("no", 502)), ""),
        (InternalServerError(), ""),
        (HTTPException(404), "response"),
        (HTTPException(503), ""),
        (FastAPIException(418), "response"),
        (RequestValidationError([]), "response"),
        (ResponseValidationError([]), ""),
        (WebSocketDisconnect(), "control"),
        (WebSocketException(1008), "response"),
        (WebSocketException(1011), ""),
        (Http404(), "response"),
        (PermissionDenied(), "response"),
        (BadRequest(), "response"),
        (SuspiciousOperation(), "response"),
        (DisallowedHost(), "response"),
        (click.exceptions.Exit(0), "control"),
        (click.Abort(), "control"),
        (click.ClickException("bad"), ""),
        (Ignore(), "control"),
        (Reject(), "control"),
        (Retry(), "control"),
        (WorkerShutdown(0), "control"),
        (SystemExit(0), "control"),
        (KeyboardInterrupt(), "control"),
        (GeneratorExit(), "control"),
        (asyncio.CancelledError(), "control"),
        (CancelledError(), "control"),
        (StopIteration(), "iteration"),
        (StopAsyncIteration(), "iteration"),
        (ValueError(), ""),
        (Exception(), ""),
        (TimeoutError(), ""),
    ],
)
def test_exception_of_an_installed_library_has_its_kind(error: BaseException, kind: str) -> None:
    """Also for subclasses."""
    assert answers.kind_of(error) == kind


def test_exception_whose_status_cannot_be_read_is_an_error() -> None:
    """A property of the application may fail."""
    assert answers.kind_of(_Failing(404)) == ""


def _stand_in(name: str, **attributes: Any) -> Exception:
    module, _, qualname = name.partition(":")
    base = type(qualname, (Exception,), {"__module__": f"{module}.somewhere", "__qualname__": qualname})
    error: Exception = type("Own", (base,), {"__module__": "shop", **attributes})()
    return error


@pytest.mark.parametrize(("name", "attribute"), [(name, attributes[0]) for name, attributes in answers._STATUS.items()])
def test_exception_with_a_status_is_an_error_from_500_on(name: str, attribute: str) -> None:
    """Numbers, and texts that begin with one; without a number it is an error."""
    assert answers.kind_of(_stand_in(name, **{attribute: 404})) == "response"
    assert answers.kind_of(_stand_in(name, **{attribute: "303 See Other"})) == "response"
    assert answers.kind_of(_stand_in(name, **{attribute: 500})) == ""
    assert answers.kind_of(_stand_in(name, **{attribute: None})) == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "response") for name in sorted(answers._RESPONSES)),
        *((name, "control") for name in sorted(answers._CONTROL)),
        *((name, "iteration") for name in sorted(answers._ITERATION) if not name.startswith("builtins")),
        *((name, "") for name in sorted(answers._ERRORS)),
        ("urllib:HTTPError", ""),
        ("requests:HTTPError", ""),
    ],
)
def test_exception_is_recognised_in_any_module_of_its_package(name: str, kind: str) -> None:
    """Libraries move their classes; the errors of clients have statuses too, and are errors."""
    assert answers.kind_of(_stand_in(name, code=404, status_code=404)) == kind


def test_group_of_cancellations_is_no_error_unless_a_member_is_one() -> None:
    """A group that no ``except Exception`` catches counts by its members."""
    group: Any = getattr(builtins, "BaseExceptionGroup", None) or import_module("exceptiongroup").BaseExceptionGroup
    stopped = group("stop", [KeyboardInterrupt(), group("inner", [asyncio.CancelledError()])])
    assert answers.kind_of(stopped) == "control"
    assert answers.kind_of(group("stop", [KeyboardInterrupt(), ValueError()])) == ""


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (SystemExit(), False),
        (SystemExit(0), False),
        (SystemExit("bad"), True),
        (click.exceptions.Exit(0), False),
        (click.exceptions.Exit(3), True),
        (ValueError(), False),
    ],
)
def test_exit_with_a_status_ends_with_failure(error: BaseException, failed: bool) -> None:
    """Of the program or of a command; other exceptions do not exit."""
    assert answers.exits_with_failure(error) is failed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, "response"),
        (grpc.StatusCode.PERMISSION_DENIED, "response"),
        (grpc.StatusCode.INTERNAL, ""),
        (grpc.StatusCode.UNAVAILABLE, ""),
    ],
)
def test_abort_of_a_call_is_an_error_by_its_code(code: grpc.StatusCode, kind: str) -> None:
    """``context.abort`` raises a plain Exception; one of the application stays an error."""
    seen: list[str] = []

    def handle(request: bytes, context: Any) -> None:
        try:
            context.abort(code, "no")
        except Exception as error:
            seen.append(answers.kind_of(error))
            raise

    method = grpc.unary_unary_rpc_method_handler(handle)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", {"Get": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/shop.Orders/Get")(b"")
    finally:
        server.stop(None).wait()
    assert seen == [kind]


def test_cache_of_classes_is_bounded() -> None:
    """Programs that make classes without end do not fill the memory with their rules."""
    for number in range(answers._MAX_CACHED + 10):
        answers.kind_of(type(f"Own{number}", (ValueError,), {})())
    assert len(answers._rules) <= answers._MAX_CACHED
