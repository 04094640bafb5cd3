#!/usr/bin/env bash
# celery 5.7.0 with gevent 26.9.0: `celery worker -P gevent` imports the module celery.app in the middle
# of monkey.patch_all(), when the locks are patched and select is not yet.
#
# Why it matters: what hooks the import of celery (an agent, a debugger) and imports more of it then,
# such as kombu.utils.eventio, makes it keep functions that are not patched. The hub of the worker
# then blocks in the builtin select and the worker hangs at its start.
#
# Seen: 2026-11-30, CPython 3.11 on Linux. gevent asks isinstance(object, RLock) for every object that
# the garbage collector knows; __class__ of celery's proxies creates the default application.
# Source: https://www.gevent.org/api/gevent.monkey.html (patch_thread), and running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check celery==5.7.0 gevent==26.9.0 greenlet==3.5.6
cat >"$folder/program.py" <<'PY'
import sys

sys.argv = ["celery", "worker", "-P", "gevent"]
seen = []


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "celery.app":
            monkey = sys.modules.get("gevent.monkey")
            seen.append((monkey.is_module_patched("threading"), monkey.is_module_patched("select")))


sys.meta_path.insert(0, Finder)
import celery

celery.maybe_patch_concurrency()
print(*seen[0])
PY
cd "$folder"
patched=$(venv/bin/python program.py)
echo "at the import of celery.app, threading and select are patched: $patched"
[ "$patched" = "True False" ]
