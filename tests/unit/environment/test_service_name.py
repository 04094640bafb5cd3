"""A program without a service name is named after its project, application or script."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otel_distro.environment.service_name import MAX_LENGTH, default_service_name


def name_of(*argv: str, main: str | None = None, parent: str | None = None, **environ: str) -> str:
    """Return the name of a program; ``main`` is the module that ``python -m`` runs."""
    modules: dict[str, Any] = {"__main__": SimpleNamespace(__spec__=main and SimpleNamespace(name=main))}
    if parent:
        modules["__mp_main__"] = SimpleNamespace(__spec__=SimpleNamespace(name=parent))
    return default_service_name(argv, environ, modules, ())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("app.py", "app"),
        ("/srv/shop/nightly_import.py", "nightly_import"),
        ("./shop.pyz", "shop"),
        ("/srv/shop/__main__.py", "shop"),
        ("/srv/shop", "shop"),
        ("/opt/venv/bin/pytest", "pytest"),
        ("report.v2.py", "report.v2"),
        ("ipykernel_launcher.py", "jupyter"),
        ("/srv/billing/main.py", "billing"),
        ("/srv/app/main.py", "main"),
        ("/main.py", "main"),
    ],
)
def test_script_without_a_name_is_named_after_its_file(path: str, expected: str) -> None:
    """The file's name without its ending; a package's or folder's ``__main__`` is the folder."""
    assert name_of(path, "--verbose", "input.csv") == expected


@pytest.mark.parametrize("path", ["", "-c", "-"])
def test_program_without_a_script_stays_unnamed(path: str) -> None:
    """``python -c``, standard input and an interactive interpreter have no name to give."""
    assert name_of(path, "x") == ""
    assert default_service_name([], {}, {}, ()) == ""


@pytest.mark.parametrize(
    ("main", "expected"),
    [("shop", "shop"), ("shop.__main__", "shop"), ("shop.jobs.nightly", "shop.jobs.nightly"), ("__main__", "shop")],
)
def test_module_run_by_dash_m_is_named_after_the_module(main: str, expected: str) -> None:
    """``python -m shop`` is ``shop``; a folder or archive is named after its own file name."""
    assert name_of("/srv/shop", main=main) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "shop"], "shop"),
        (["-mshop.web"], "shop.web"),
        (["-u", "-X", "dev", "-W", "error", "-m", "shop", "-m", "x"], "shop"),
        (["-m", "uvicorn", "shop.main:app"], "shop"),
        (["-m"], ""),
        (["script.py", "-m", "x"], ""),
    ],
)
def test_package_that_starts_telemetry_while_imported_names_the_program(words: list[str], expected: str) -> None:
    """``python -m shop`` imports the package first; meanwhile ``sys.argv`` begins with ``-m``."""
    argv = ["-m", *words[words.index("uvicorn") + 1 :]] if "uvicorn" in words else ["-m"]
    assert default_service_name(argv, {}, {}, ["python", *words]) == expected


def test_child_of_multiprocessing_has_its_parents_name() -> None:
    """A spawned process runs its parent's main module under the name ``__mp_main__``."""
    assert name_of("/srv/shop/web.py", parent="shop.web") == "shop.web"
    assert name_of("/srv/shop/web.py", parent="__mp_main__") == "web"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gunicorn shop.wsgi", "shop"),
        ("gunicorn -k gevent --bind 0.0.0.0:8000 shop.wsgi", "shop"),
        ("gunicorn --reload shop.wsgi", "shop"),
        ("gunicorn shop.wsgi --workers 4 -k gevent", "shop"),
        ("gunicorn -w 4 shop.backoffice:create_app()", "shop.backoffice"),
        ("gunicorn -c gunicorn.conf.py", "gunicorn"),
        ("uvicorn shop.main:app --host localhost --port 80 --log-level info", "shop"),
        ("uvicorn --factory main:create_app", "main"),
        ("hypercorn shop.asgi:application", "shop"),
        ("granian --interface asgi shop.web:app", "shop.web"),
        ("daphne -p 8000 shop.asgi:application", "shop"),
        ("waitress-serve --listen=*:8041 --call shop:create_app", "shop"),
        ("celery -A shop worker -l info", "shop"),
        ("celery --app=shop.celery:app beat", "shop"),
        ("celery -Ashop.reports worker", "shop.reports"),
        ("celery worker", "celery"),
        ("flask --app shop.main run --port 5000", "shop"),
        ("flask --app web/site.py run", "site"),
        ("flask run", "flask"),
        ("fastapi run web/main.py", "main"),
        ("streamlit run dashboards.py", "dashboards"),
        ("dramatiq shop.actors", "shop.actors"),
        ("arq shop.worker.WorkerSettings", "shop.worker"),
        ("huey_consumer.py shop.huey -w 2", "shop"),
        ("rq worker default", "rq"),
    ],
)
def test_server_or_worker_is_named_after_its_application(command: str, expected: str) -> None:
    """Options, their values, addresses and factories in the command line do not confuse it."""
    program, *words = command.split()
    assert name_of(f"/opt/venv/bin/{program}", *words) == expected


def test_application_in_a_variable_names_the_program() -> None:
    """Flask and Celery take it from the environment where no option names it; the option wins."""
    assert name_of("flask", "run", FLASK_APP="shop.main:create_app") == "shop"
    assert name_of("celery", "worker", CELERY_APP="shop") == "shop"
    assert name_of("flask", "--app", "other", "run", FLASK_APP="shop") == "other"


@pytest.mark.parametrize("main", ["uvicorn.__main__", "gunicorn.app.wsgiapp"])
def test_server_run_by_dash_m_is_named_after_its_application(main: str) -> None:
    """``python -m uvicorn shop:app`` is ``shop`` as well."""
    assert name_of("/x/uvicorn/__main__.py", "shop.web:app", "--reload", main=main) == "shop.web"


@pytest.mark.parametrize(
    ("settings", "words", "expected"),
    [
        ("shop.settings", ["runserver"], "shop"),
        ("shop.settings.production", ["migrate", "--noinput"], "shop.migrate"),
        ("", ["--settings=back.settings", "rqworker"], "back.rqworker"),
        ("settings", ["migrate"], "site.migrate"),
        ("", ["migrate"], "site.migrate"),
        ("", [], "site"),
    ],
)
def test_django_command_is_named_after_project_and_command(settings: str, words: list[str], expected: str) -> None:
    """The project comes from the settings or the folder of ``manage.py``; servers add nothing."""
    assert name_of("/srv/site/manage.py", *words, DJANGO_SETTINGS_MODULE=settings) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({b"module": b"shop.wsgi:application"}, "shop"),
        ({b"wsgi-file": b"/srv/shop/site.py"}, "site"),
        ({b"mount": [b"/=shop.wsgi", b"/x=other"]}, "shop"),
        ({}, "uwsgi"),
    ],
)
def test_uwsgi_application_names_the_program(options: dict[bytes, Any], expected: str) -> None:
    """UWSGI's options are not in ``sys.argv``: its module has them."""
    assert default_service_name(["uwsgi"], {}, {"uwsgi": SimpleNamespace(opt=options)}, ()) == expected


def test_hostile_file_name_gives_a_bounded_printable_name() -> None:
    """Names become labels and file names: no control characters, no unbounded length."""
    assert name_of("a\nb\x00c\udcff.py") == "abc"
    assert len(name_of("x" * 5000 + ".py")) == MAX_LENGTH
