#!/usr/bin/env bash
# gevent 26.9.0, monkey.patch_all(): an import statement in one greenlet runs the others in its middle
# when a native thread is importing the same module at that moment. Alone, the import does not switch.
# With nothing else in the event loop, gevent.exceptions.LoopExit comes out of the import statement.
#
# Why it matters: code that must not be interrupted by other greenlets (the start of an agent that
# replaces functions one by one) has to import everything that its native threads import before they
# start. Otherwise requests of the other greenlets pass while half of the functions are replaced.
#
# Seen: 2026-11-30, CPython 3.11 on Linux. The lock of a module is made by `_thread.allocate_lock`,
# which gevent replaces: a greenlet that finds it held by another thread sleeps in the hub.
# Source: https://www.gevent.org/api/gevent.monkey.html (patch_thread), and running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0 greenlet==3.5.6
cat >"$folder/slow_module.py" <<'PY'
import sys

sys.begun.append("import begun")
sys.native_sleep(0.5)
PY
cat >"$folder/program.py" <<'PY'
import sys
import time

sys.native_sleep, sys.begun = time.sleep, []
import _thread

native_thread = _thread.start_new_thread
from gevent import monkey

monkey.patch_all()
import gevent

order = []


def imports():
    order.append("import")
    import slow_module  # noqa: F401

    order.append("imported")


def other():
    order.append("other greenlet")


if sys.argv[1] == "beside a thread":
    native_thread(__import__, ("slow_module",))
    while not sys.begun:
        sys.native_sleep(0.01)
# A timer keeps the event loop alive: with nothing else to do it would raise LoopExit here.
kept_alive = gevent.spawn(gevent.sleep, 5)
gevent.joinall([gevent.spawn(imports), gevent.spawn(other)], raise_error=True)
print(", ".join(order))
PY
cd "$folder"
alone=$(venv/bin/python program.py alone)
beside=$(venv/bin/python program.py "beside a thread")
echo "alone:           $alone"
echo "beside a thread: $beside"
[ "$alone" = "import, imported, other greenlet" ] && [ "$beside" = "import, other greenlet, imported" ]
