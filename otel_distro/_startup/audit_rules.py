"""Rules of the audit hook: kinds, globs of sensitive files, temporary directories, rate limits.

Imported at the start of a process only where ``OTEL_DISTRO_AUDIT_KINDS`` asks for the hook.
"""

import fnmatch
import os
import re
import sys
import time

from otel_distro import settings
from otel_distro._runtime.diagnostics import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILES = "files"
PROCESSES = "processes"
CONNECTIONS = "connections"
DYNAMIC_CODE = "dynamic_code"
NATIVE_LIBRARIES = "native_libraries"
TMP_MODULES = "tmp_modules"
PRIVILEGES = "privileges"
KINDS = (FILES, PROCESSES, CONNECTIONS, DYNAMIC_CODE, NATIVE_LIBRARIES, TMP_MODULES, PRIVILEGES)
WITHOUT_HOOK = frozenset((PRIVILEGES,))
"""Kinds for which the interpreter raises few or no events; they need no hook."""

NAMES = (
    "id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "identity", "ssh_host_*_key",
    "*.key", "*.ppk", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.keytab",
    "key.pem", "*-key.pem", "*_key.pem", "*private*.pem", "privkey*.pem", "server-key.*",
    ".env", ".env.*", "*.env",
    "credentials", "credentials.*", "*-credentials.json", "*_credentials.json", "service-account*.json",
    "service_account*.json", "client_secret*.json", "secrets.*", ".secrets", "secret.*",
    "token", "token.json", "token.txt", "tokens.json", "*.token", ".vault-token", ".vault_pass*",
    ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".htpasswd",
    ".git-credentials", ".pypirc", ".npmrc", ".dockercfg", ".boto", ".s3cfg", "kubeconfig", "wp-config.php",
)  # fmt: skip
"""Names of files that are sensitive in any directory."""

PATHS = (
    "/etc/passwd", "/etc/shadow*", "/etc/gshadow*", "/etc/sudoers", "/etc/sudoers.d/*", "/etc/ssl/private/*",
    "/etc/kubernetes/*.conf", "/run/secrets/*", "/var/run/secrets/*", "/proc/*/environ", "/proc/*/mem",
    "*/.ssh/*", "*/.aws/*", "*/.kube/config", "*/.gnupg/*", "*/.azure/*", "*/.config/gcloud/*", "*/.docker/config.json",
    "*/.config/gh/hosts.yml", "*/.password-store/*",
)  # fmt: skip
"""Absolute paths of sensitive files."""

HARMLESS = (
    ".env.example", ".env.sample", ".env.template", ".env.dist", "*.example.env",
    "*/.ssh/known_hosts*", "*/.ssh/*.pub", "*/.aws/cli/cache/*", "*/.aws/models/*",
)  # fmt: skip

_SOURCE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".html", ".css", ".js")
"""Endings of files that only have such a name: a module called credentials holds none."""

_WILD = re.compile(r"[*?\[]")
_MAX_PATH_CHARS = 4096
_MAX_TARGETS = 10_000
_WINDOW_S = 60.0
_ALL_TARGETS_FACTOR = 10


def kinds_wanted(environ: "Mapping[str, str] | None" = None) -> "frozenset[str]":
    """Return the kinds that the setting names: ``all``, ``off``, or a list.

    Args:
        environ: The environment; default: that of the process.
    """
    setting = settings.OTEL_DISTRO_AUDIT_KINDS
    words = {word.strip().lower() for word in setting.get(environ).split(",") if word.strip()}
    unknown = words - {*KINDS, "all", "off"}
    if unknown:
        say(
            f"{setting.name}: unknown kind {', '.join(sorted(unknown))[:100]!r} ignored, the other kinds apply; "
            f"known kinds: {', '.join(KINDS)}, all, off",
            code="OD600",
        )
    return frozenset(KINDS) if "all" in words else frozenset(words & set(KINDS))


class Sensitive:
    """Decides by path whether a file is sensitive. The last glob that matches decides.

    ``*`` matches everything, ``/`` too. A glob without ``/`` is compared with the name of the file,
    one with ``/`` with the absolute path; ``~/`` is the home directory. ``!`` before a glob makes
    what it matches harmless. A bad entry is reported and ignored.

    Args:
        more: Globs separated by commas, which come after the built-in ones.
    """

    def __init__(self, more: str = "") -> None:
        self._groups = [(True, _Globs((*NAMES, *PATHS))), (False, _Globs(HARMLESS))]
        for entry in more.split(","):
            glob = entry.strip()
            wanted = not glob.startswith("!")
            glob = glob.lstrip("!").strip()
            if not glob:
                continue
            try:
                group = _Globs((os.path.expanduser(glob),))
            except (re.error, RecursionError, OverflowError):
                say(
                    f"{settings.OTEL_DISTRO_AUDIT_FILES.name}: {entry.strip()[:100]!r} is not a valid glob and is ignored, "
                    "the other globs apply; correct it",
                    code="OD601",
                )
                continue
            self._groups.append((wanted, group))
        self._groups.reverse()

    def matches(self, path: str) -> bool:
        """Return whether an absolute path is that of a sensitive file."""
        if path.endswith(_SOURCE) or len(path) > _MAX_PATH_CHARS:
            return False
        name = path.rpartition("/")[2]
        for wanted, group in self._groups:
            if group.has(path, name):
                return wanted
        return False


class _Globs:
    """Globs of one meaning; those without a wildcard are found by one lookup in a set."""

    def __init__(self, globs: "Iterable[str]") -> None:
        given = tuple(globs)
        self._exact = frozenset(glob for glob in given if not _WILD.search(glob))
        wild = [glob for glob in given if glob not in self._exact]
        self._names = _any_of(glob for glob in wild if "/" not in glob)
        self._paths = _any_of(glob for glob in wild if "/" in glob)

    def has(self, path: str, name: str) -> bool:
        """Return whether a glob matches the path, or its last part."""
        return (
            name in self._exact
            or path in self._exact
            or (self._names is not None and self._names.match(name) is not None)
            or (self._paths is not None and self._paths.match(path) is not None)
        )


def _any_of(globs: "Iterable[str]") -> "re.Pattern[str] | None":
    expressions = [f"(?:{fnmatch.translate(glob)})" for glob in globs]
    return re.compile("|".join(expressions)) if expressions else None


def temporary_folders() -> "tuple[str, ...]":
    """Return the directories for temporary files, also with links resolved, ending in a slash."""
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    found = {folder for folder in (*named, "/tmp", "/var/tmp", "/dev/shm") if folder}  # noqa: S108 - to watch them
    found |= {os.path.realpath(folder) for folder in found}
    return tuple(sorted(folder.rstrip("/") + "/" for folder in found if folder.startswith("/") and folder.strip("/")))


def installed_folders() -> "tuple[str, ...]":
    """Return the directories of Python and its environment, whose files count as installed."""
    return tuple(
        {folder.rstrip("/") + "/" for folder in (sys.prefix, sys.base_prefix, sys.exec_prefix) if folder != "/"}
    )


class Limit:
    """Rate limit: ``each`` events of one target a minute, ten times that of all targets.

    0 is no limit.

    It acquires no lock: threads that meet here may let one more event pass, and no count is lost.
    """

    __slots__ = ("_all", "_each", "_end", "_seen", "_total")

    def __init__(self, each: int) -> None:
        self._each = each or sys.maxsize
        self._total = self._each * _ALL_TARGETS_FACTOR
        self.reset()

    def reset(self) -> None:
        """Start a new minute with the next event."""
        self._end = float("-inf")
        self._seen: dict[str, int] = {}
        self._all = 0

    def allow(self, target: str) -> bool:
        """Return whether one more event of ``target`` may pass."""
        now = time.monotonic()
        if now >= self._end:
            self.reset()
            self._end = now + _WINDOW_S
        seen = self._seen.get(target, 0)
        if seen >= self._each or self._all >= self._total:
            return False
        if len(self._seen) < _MAX_TARGETS:
            self._seen[target] = seen + 1
        self._all += 1
        return True
