"""Django: `include` in `include`; as WSGI and as ASGI application, and under `runserver`."""

import os
import sys

import contract_parts as parts
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.http import require_safe

IS_ASYNC = os.environ.get("CONTRACT_DJANGO") == "asgi"


class RefusalMiddleware:
    """The exception handler."""

    sync_capable, async_capable = not IS_ASYNC, IS_ASYNC

    def __init__(self, get_response):
        self.get_response = get_response
        if IS_ASYNC:
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        return HttpResponse("refused", status=error.status) if isinstance(error, parts.Refusal) else None


if not settings.configured:
    settings.configure(
        ROOT_URLCONF="django_app",
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x" * 50,
        DEBUG=False,
        MIDDLEWARE=["django_app.RefusalMiddleware"],
        WSGI_APPLICATION="django_app.app",
        LOGGING_CONFIG=None,
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    )


@require_safe
def plain(request, n):
    return HttpResponse(parts.plain(n))


def post(request, uid, pid):
    return HttpResponse(f"{uid} {pid}")


def thing(request, tenant, tid):
    return HttpResponse(f"{tenant} {tid}")


def upload(request):
    return HttpResponse(str(len(request.body)))


def raises(request):
    raise parts.Broken("before anything")


def handled(request, status):
    raise parts.Refusal(status)


def abort(request, status):
    raise {403: PermissionDenied("no"), 404: Http404("no such thing")}[status]


def redirect(request):
    return HttpResponseRedirect("/plain/1")


def unavailable(request):
    return HttpResponse("later", status=503)


def headers(request):
    return HttpResponse("headers", headers=parts.HEADERS)


def fine(request, n=0):
    return HttpResponse("fine")


def hang(request):
    return HttpResponse(parts.hang())


def home(request):
    return HttpResponse("home")


if IS_ASYNC:

    async def number(request, n):
        return HttpResponse(await parts.anumber(n))

    async def late(request):
        return HttpResponse(await parts.alate())

    async def work(request):
        return HttpResponse(parts.work())

    async def stream(request):
        return StreamingHttpResponse(parts.astream())

    async def stream_fails(request):
        return StreamingHttpResponse(parts.afailing_stream())

    async def endless(request):
        return StreamingHttpResponse(parts.aendless())

else:

    def number(request, n):
        return HttpResponse(parts.number(n))

    def late(request):
        return HttpResponse(parts.late())

    def work(request):
        return HttpResponse(parts.work())

    def stream(request):
        return StreamingHttpResponse(parts.stream())

    def stream_fails(request):
        return StreamingHttpResponse(parts.failing_stream())

    def endless(request):
        return StreamingHttpResponse(parts.endless())


users = [path("users/<uid>/posts/<pid>", post)]
urlpatterns = [
    path("", home),
    path("plain/<n>", plain),
    path("number/<n>", number),
    path("api/", include([path("v1/", include(users))])),
    path("sub/<tenant>/", include([path("things/<tid>", thing)])),
    path("upload", upload),
    path("stream", stream),
    path("stream-fails", stream_fails),
    path("endless", endless),
    path("raises", raises),
    path("handled/<int:status>", handled),
    path("abort/<int:status>", abort),
    path("redirect", redirect),
    path("unavailable", unavailable),
    path("late", late),
    path("work", work),
    path("hang", hang),
    path("headers", headers),
    path("excluded/<n>", fine),
    path("healthz", fine),
    path("myhealthz-report", fine),
]


def __getattr__(name):
    # `runserver` imports this module as the URL configuration too, when no application may be made yet.
    if name != "app":
        raise AttributeError(name)
    if IS_ASYNC:
        from django.core.asgi import get_asgi_application

        application = get_asgi_application()
        return parts.mounted_asgi(application, application)
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    return parts.mounted_wsgi(application, application)


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    sys.modules["django_app"] = sys.modules["__main__"]
    execute_from_command_line(sys.argv)
