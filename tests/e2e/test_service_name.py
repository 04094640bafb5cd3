"""Without OTEL_SERVICE_NAME, telemetry has the name of the project or script."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import BIN, free_port
from tests.support.programs import APPS, Launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.receiver import Receiver


def names(receiver: Receiver) -> set[str]:
    """Return the service names of all spans and log records that arrived."""
    resources = [*(span.resource for span in receiver.spans()), *(log.resource for log in receiver.logs())]
    return {resource["service.name"] for resource in resources}


def package(folder: Path) -> None:
    """Write a package ``shop`` whose module and entry point log a line."""
    shop = folder / "shop"
    shop.mkdir()
    for name in ("__init__.py", "__main__.py", "nightly.py"):
        line = "import logging\nlogging.warning('work')\n" if name != "__init__.py" else ""
        (shop / name).write_text(line, encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("-m", "shop"), "shop"), (("-m", "shop.nightly"), "shop.nightly"), (("shop",), "shop"), (("shop/nightly.py",), "nightly")],
)  # fmt: skip
def test_service_name_is_the_script_or_module(
    words: tuple[str, ...], expected: str, launcher: Launcher, receiver: Receiver
) -> None:
    """A script is named after its file, ``python -m`` after its module, a folder after itself."""
    package(launcher.folder)
    program = words if words[0] == "-m" else ("-u", *words)
    assert launcher.run(*program).returncode == 0
    assert names(receiver) == {expected}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"OTEL_SERVICE_NAME": "given"}, "given"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=listed"}, "listed"),
        ({"OTEL_SERVICE_NAME": "unknown_service"}, "unknown_service"),
    ],
)
def test_service_name_set_by_the_user_is_kept(
    changes: dict[str, str], expected: str, launcher: Launcher, receiver: Receiver
) -> None:
    """A name in the variables is used."""
    assert launcher.run("talker.py", "0", **changes).returncode == 0  # type: ignore[arg-type]
    assert names(receiver) == {expected}


def test_service_name_of_a_resource_detector_is_kept(launcher: Launcher, receiver: Receiver) -> None:
    """A resource detector of the user takes precedence over the command line."""
    detector = (
        "from opentelemetry.sdk.resources import Resource, ResourceDetector\n"
        "class Named(ResourceDetector):\n"
        "    def detect(self):\n"
        "        return Resource({'service.name': 'detected'})\n"
    )
    (launcher.folder / "detector.py").write_text(detector, encoding="utf-8")
    info = launcher.folder / "detector-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: detector\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[opentelemetry_resource_detector]\nnamed = detector:Named\n", encoding="utf-8"
    )
    changes = {"PYTHONPATH": str(launcher.folder), "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "named"}
    assert launcher.run("talker.py", "0", **changes).returncode == 0  # type: ignore[arg-type]
    assert names(receiver) == {"detected"}


SERVERS = {
    "gunicorn": ("--workers", "2", "--bind", "127.0.0.1:{port}", "shop.wsgi"),
    "uvicorn": ("shop.asgi:app", "--port", "{port}"),
    "uwsgi": (
        "--http-socket",
        "127.0.0.1:{port}",
        "--module",
        "shop.wsgi:application",
        "--enable-threads",
        "--master",
        "--die-on-term",
    ),
    "flask": ("--app", "shop.wsgi:application", "run", "--port", "{port}"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_service_name_of_a_server_is_its_application(server: str, launcher: Launcher, receiver: Receiver) -> None:
    """Each process of a server, workers included, has the name of the application."""
    shop = launcher.folder / "shop"
    shop.mkdir()
    (shop / "__init__.py").touch()
    (shop / "wsgi.py").write_text(
        "import logging\nfrom flask import Flask\napplication = Flask(__name__)\n"
        "@application.get('/')\ndef index():\n    logging.warning('asked')\n    return 'fine'\n",
        encoding="utf-8",
    )
    (shop / "asgi.py").write_text(
        "import logging\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "@app.get('/')\ndef index():\n    logging.warning('asked')\n    return 'fine'\n",
        encoding="utf-8",
    )
    port = free_port()
    words = [word.format(port=port) for word in SERVERS[server]]
    process = launcher.serve(str(BIN / server), *words, PYTHONPATH=str(launcher.folder))
    assert process.ask(f"http://127.0.0.1:{port}/")[0] == 200
    # uWSGI kills workers without warning, so the request must arrive before the stop.
    receiver.wait_for(lambda r: r.logs("asked") and r.spans())
    process.stop()
    assert names(receiver) == {"shop"}


def test_service_name_of_a_celery_worker_is_its_app(launcher: Launcher, receiver: Receiver) -> None:
    """The worker and its children have the name of the app in ``-A``."""
    shutil.copy(APPS / "celery_tasks.py", launcher.folder)
    broker = str(launcher.folder / "broker")
    queued = launcher.run("celery_tasks.py", "1", command="bare", BROKER=broker)
    assert queued.returncode == 0
    server = launcher.serve(
        *(str(BIN / "celery"), "-A", "celery_tasks", "worker", "-l", "INFO", "--concurrency", "1"), BROKER=broker
    )
    server.wait_for_log(r"succeeded in")
    server.stop()
    receiver.wait_for(lambda r: r.total("shop.orders") == 1)
    assert names(receiver) == {"celery_tasks"}


def test_service_name_of_a_django_command_is_project_and_command(launcher: Launcher, receiver: Receiver) -> None:
    """``manage.py COMMAND`` is the project with the command; the web server is the project."""
    shutil.copytree(APPS / "django_shop", launcher.folder, dirs_exist_ok=True)
    commands = launcher.folder / "shop" / "management" / "commands"
    commands.mkdir(parents=True)
    (commands.parent / "__init__.py").touch()
    (commands / "__init__.py").touch()
    (commands / "nightly.py").write_text(
        "import logging\nfrom django.core.management.base import BaseCommand\n"
        "class Command(BaseCommand):\n    def handle(self, **_):\n        logging.warning('work')\n",
        encoding="utf-8",
    )
    settings = launcher.folder / "shop" / "settings.py"
    settings.write_text(settings.read_text(encoding="utf-8") + "\nINSTALLED_APPS = ['shop']\n", encoding="utf-8")
    ended = launcher.run("-u", "manage.py", "nightly")
    assert ended.returncode == 0, ended.stderr
    port = free_port()
    server = launcher.serve("-u", "manage.py", "runserver", "--noreload", str(port))
    assert server.ask(f"http://127.0.0.1:{port}/nowhere")[0] == 404
    server.stop()
    receiver.wait_for(lambda r: r.spans())
    assert names(receiver) == {"shop.nightly", "shop"}


def test_service_name_separates_the_crashes_of_two_scripts(launcher: Launcher, receiver: Receiver) -> None:
    """The next run of the same script reports its crash; another script does not."""
    for name, line in (("crashing", "import ctypes; ctypes.string_at(0)"), ("unrelated", "print('fine')")):
        (launcher.folder / f"{name}.py").write_text(
            f"import logging, sys\nlogging.warning('{name}')\nif sys.argv[1:] == ['now']:\n    {line}\n",
            encoding="utf-8",
        )
    assert launcher.run("-u", "crashing.py", "now").returncode == -11
    assert launcher.run("-u", "unrelated.py", "now").returncode == 0
    assert [log.resource["service.name"] for log in receiver.logs() if log.severity >= 21] == []
    assert launcher.run("-u", "crashing.py").returncode == 0
    receiver.wait_for(lambda r: [log for log in r.logs() if log.severity >= 21])
    assert [log.resource["service.name"] for log in receiver.logs() if log.severity >= 21] == ["crashing"]
