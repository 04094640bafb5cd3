#!/usr/bin/env bash
# uvicorn 0.54.0 (h11): a request that was pipelined behind another one runs in a copy of the context
# in which the first one sent the end of its response. A context variable that the first application
# call has set is visible in the second request, although both are independent tasks.
#
# Why it matters: whatever keeps per-request state in a context variable (the current span of a trace,
# a request id, a database session) finds the earlier request's value there. A tracer that takes the
# current span for the parent hangs all later requests of the connection under the first one.
#
# Seen: 2026-11-30, CPython 3.11 on Linux. The protocol starts the next cycle from within `send()` of
# the last body message, so `loop.create_task` copies the context of the application that sends.
# Source: uvicorn/protocols/http/h11_impl.py (on_response_complete), and running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 h11==0.16.0
cat >"$folder/program.py" <<'PY'
import contextvars
import socket
import sys
import threading
import time

import uvicorn

owner = contextvars.ContextVar("owner", default="nobody")
seen = []


async def app(scope, receive, send):
    seen.append(f"{scope['path']}: {owner.get()}")
    owner.set(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", lifespan="off", log_level="critical"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
request = b"GET %s HTTP/1.1\r\nhost: a\r\n\r\n"
with socket.create_connection(("127.0.0.1", port)) as client:
    if sys.argv[1] == "pipelined":
        client.sendall(request % b"/first" + request % b"/second")
    else:
        client.sendall(request % b"/first")
        client.recv(1000)
        client.sendall(request % b"/second")
    while len(seen) < 2:
        time.sleep(0.01)
server.should_exit = True
thread.join()
print(", ".join(seen))
PY
cd "$folder"
pipelined=$(venv/bin/python program.py pipelined)
in_turn=$(venv/bin/python program.py "in turn")
echo "pipelined: $pipelined"
echo "in turn:   $in_turn"
[ "$pipelined" = "/first: nobody, /second: /first" ] && [ "$in_turn" = "/first: nobody, /second: nobody" ]
