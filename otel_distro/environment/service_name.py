"""The name of a service that has none: its project or script, where that is known.

A server or a queue's worker is named after the application it runs, not after itself. The
specification asks for ``unknown_service`` where nothing is known, which a program without a script
keeps (``python -c``, standard input, an interactive interpreter).

Source: https://opentelemetry.io/docs/specs/semconv/resource/#service
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

MAX_LENGTH = 100
_APPLICATION_ARGUMENT = frozenset(
    "arq daphne dramatiq granian gunicorn huey_consumer hypercorn saq taskiq uvicorn waitress waitress-serve".split()  # noqa: SIM905
)
"""Programs that take ``module``, ``module:attribute`` or ``module.attribute`` as an argument."""
_APPLICATION_OPTION: "dict[str, tuple[tuple[str, ...], str]]" = {
    "celery": (("-A", "--app"), "CELERY_APP"),
    "flask": (("-A", "--app"), "FLASK_APP"),
    "procrastinate": (("-a", "--app"), "PROCRASTINATE_APP"),
}
"""Programs that take the application by an option or a variable."""
_SCRIPT_ARGUMENT = {"fastapi": ("run", "dev"), "streamlit": ("run",)}
"""Programs that run a script named after one of these commands."""
_DOTTED_ATTRIBUTE = frozenset({"arq", "huey_consumer"})
"""Programs whose argument ends in the name of an attribute behind a dot."""
_DJANGO = frozenset({"manage", "django-admin", "django"})
_DJANGO_SERVERS = frozenset({"", "runserver", "runserver_plus", "testserver"})
_ALIASES = {"ipykernel_launcher": "jupyter", "ipykernel": "jupyter"}
_ENTRY_MODULES = frozenset("app application asgi celery celery_app celeryapp main server settings wsgi".split())  # noqa: SIM905
"""Last parts of a module's name that describe its role and do not identify the project."""
_UNSPECIFIC = frozenset({"main"})
"""Names of scripts that say nothing: the folder names the program."""
_UNSPECIFIC_FOLDERS = frozenset("app bin code lib opt root scripts src tmp".split())  # noqa: SIM905
_SUFFIXES = (".py", ".pyw", ".pyz", ".pyc", ".exe")


def default_service_name(
    argv: "Sequence[str] | None" = None,
    environ: "Mapping[str, str] | None" = None,
    modules: "Mapping[str, Any] | None" = None,
    orig_argv: "Sequence[str] | None" = None,
) -> str:
    """Return the name of the running program, empty where it has none.

    ``app.py`` is ``app``; ``shop/main.py`` and ``python -m shop`` are ``shop``; ``gunicorn
    shop.wsgi`` and ``uvicorn shop.main:app`` are ``shop``; ``celery -A shop worker`` is ``shop``;
    ``manage.py runserver`` is the Django project ``shop`` and ``manage.py migrate`` is
    ``shop.migrate``.

    Args:
        argv: Command line of the program, its name first; default: ``sys.argv``.
        environ: Environment; default: ``os.environ``.
        modules: Loaded modules, for ``__main__`` and uWSGI; default: ``sys.modules``.
        orig_argv: Command line of the interpreter; default: ``sys.orig_argv``.

    Returns:
        At most :data:`MAX_LENGTH` printable characters.
    """
    argv = list(getattr(sys, "argv", ()) if argv is None else argv)
    environ = os.environ if environ is None else environ
    modules = sys.modules if modules is None else modules
    orig_argv = getattr(sys, "orig_argv", ()) if orig_argv is None else orig_argv
    name = _of_uwsgi(modules)
    if not name:
        program = _program(argv[0] if argv else "", modules, orig_argv)
        name = _of_application(program, argv, environ) or _ALIASES.get(program, program)
    return "".join(letter for letter in name if letter.isprintable()).strip()[:MAX_LENGTH]


def _program(path: str, modules: "Mapping[str, Any]", orig_argv: "Sequence[str]") -> str:
    """Return the name of the module or script that runs as ``__main__``."""
    for main in ("__mp_main__", "__main__"):
        # A process that multiprocessing has spawned has its parent's main module under the first.
        module = getattr(getattr(modules.get(main), "__spec__", None), "name", "") or ""
        module = module[: -len(".__main__")] if module.endswith(".__main__") else module
        if module and module not in ("__main__", "__mp_main__"):
            return module
    if path == "-m":
        # The package of the module is still being imported, and has started telemetry.
        return _module_option(orig_argv)
    if path in ("", "-", "-c"):
        return ""
    stem = _stem(path)
    if stem == "__main__":
        return _stem(os.path.dirname(os.path.abspath(path)))
    if stem in _UNSPECIFIC:
        folder = _stem(os.path.dirname(os.path.abspath(path)))
        return folder if folder and folder not in _UNSPECIFIC_FOLDERS else stem
    return stem


def _module_option(orig_argv: "Sequence[str]") -> str:
    """Return the module of ``python -m MODULE``, options of Python before it."""
    words = iter(orig_argv[1:])
    for word in words:
        if word.startswith("-m"):
            return word[2:] or next(words, "")
        if not word.startswith("-"):
            break
        if word in ("-W", "-X", "--check-hash-based-pycs"):
            next(words, "")
    return ""


def _stem(path: str) -> str:
    name = os.path.basename(path.rstrip(os.sep))
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _of_application(program: str, argv: "Sequence[str]", environ: "Mapping[str, str]") -> str:
    words = argv[1:]
    # `python -m gunicorn.app.wsgiapp` is gunicorn.
    program = program.partition(".")[0]
    if program in _DJANGO:
        return _of_django(argv, environ)
    if program in _APPLICATION_ARGUMENT:
        return _module_name(_argument(words), attribute=program in _DOTTED_ATTRIBUTE)
    if program in _APPLICATION_OPTION:
        options, variable = _APPLICATION_OPTION[program]
        return _module_name(_option(words, options) or environ.get(variable, ""))
    if program in _SCRIPT_ARGUMENT and words and words[0] in _SCRIPT_ARGUMENT[program]:
        return next((_stem(word) for word in words[1:] if word.lower().endswith(_SUFFIXES)), "")
    return ""


def _of_django(argv: "Sequence[str]", environ: "Mapping[str, str]") -> str:
    command = next((word for word in argv[1:] if not word.startswith("-")), "")
    settings = _option(argv[1:], ("--settings",)) or environ.get("DJANGO_SETTINGS_MODULE", "")
    project = settings.partition(".settings")[0]
    if project in ("", "settings") and _stem(argv[0]) == "manage":
        project = os.path.basename(os.path.dirname(os.path.abspath(argv[0])))
    if not project:
        return ""
    return project if command in _DJANGO_SERVERS else f"{project}.{command}"


def _of_uwsgi(modules: "Mapping[str, Any]") -> str:
    """Return the application of uWSGI's options, which ``sys.argv`` does not contain."""
    options = getattr(modules.get("uwsgi"), "opt", None)
    if not isinstance(options, dict):
        return ""
    for key in ("module", "wsgi", "wsgi-file", "file", "mount"):
        value = options.get(key.encode(), options.get(key, b""))
        value = value[0] if isinstance(value, (list, tuple)) and value else value
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if name := _module_name(text.rpartition("=")[2]):
            return name
    return "uwsgi"


def _option(words: "Sequence[str]", names: "tuple[str, ...]") -> str:
    """Return the value of the first of these options."""
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in names:
            return value if equals else "".join(words[index + 1 : index + 2])
        if len(word) > 2 and word[:2] in names and not word.startswith("--"):
            return word[2:]
    return ""


def _argument(words: "Sequence[str]") -> str:
    """Return the argument that names an application: one with an attribute, else the last one."""
    found = [word for word in words if _is_application(word)]
    marked = [word for word in found if ":" in word]
    if marked:
        return marked[0]
    # The value of an option may look like a module, `-k gevent`; what follows a value does not.
    free = [
        word
        for index, word in enumerate(words)
        if word in found and (not index or "=" in words[index - 1] or not words[index - 1].startswith("-"))
    ]
    return (free or found or [""])[-1]


def _is_application(word: str) -> bool:
    module, _, attribute = word.partition(":")
    if module.lower().endswith(_SUFFIXES):
        # A file of settings: `gunicorn -c gunicorn.conf.py`.
        return False
    return all(part.isidentifier() for part in module.split(".")) and (
        not attribute or attribute.partition("(")[0].replace(".", "_").isidentifier()
    )


def _module_name(application: str, *, attribute: bool = False) -> str:
    """Return the part of ``package.module:attribute`` or of a path that names the project."""
    text = application.partition(":")[0].strip()
    if os.sep in text or text.lower().endswith(_SUFFIXES):
        return _stem(text)
    parts = [part for part in text.split(".") if part]
    if attribute and len(parts) > 1:
        parts.pop()
    while len(parts) > 1 and parts[-1] in _ENTRY_MODULES:
        parts.pop()
    return ".".join(parts)
