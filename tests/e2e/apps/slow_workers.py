"""Two workers of uvicorn on a slow machine, made of one: the SDK is imported in seven seconds.

Each worker imports this script, and the application with it, before it answers its parent.
"""

import sys
import time


class Slow:
    """Computes when the SDK is imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "opentelemetry.sdk.trace":
            end = time.monotonic() + 7
            while time.monotonic() < end:
                sum(range(1000))


sys.meta_path.insert(0, Slow)

import fastapi_shop
import uvicorn

if __name__ == "__main__":
    assert fastapi_shop.app
    uvicorn.run("fastapi_shop:app", workers=2, port=int(sys.argv[1]))
