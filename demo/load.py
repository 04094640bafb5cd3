"""The customers: send requests to the shop at a steady rate.

``python -m demo.load URL`` runs them alone. The first requests take each kind of visit once; the
rest is random. Request number ``i`` depends only on the seed and on ``i``, and its answer only on
the request, so that two runs with one seed sell the same.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import requests

from demo.process import add_load_options, end_orderly

VISITORS = 4
"""Number of concurrent customers."""


class Visit(NamedTuple):
    """A kind of request: its frequency, the request itself, and the expected answers."""

    weight: int
    method: str
    route: str
    answers: tuple[int, ...]
    body: dict[str, Any] | None = None


VISITS = (
    Visit(24, "GET", "/products", (200,)),
    Visit(24, "GET", "/products/{number}", (200,)),
    Visit(1, "GET", "/products/999", (404,)),
    Visit(24, "POST", "/orders", (201,), {}),
    Visit(3, "POST", "/orders", (201,), {"card": "tok_slow"}),
    Visit(3, "POST", "/orders", (402,), {"card": "tok_refused"}),
    Visit(1, "POST", "/orders", (502,), {"card": "tok_down"}),
    Visit(2, "POST", "/orders", (409,), {"product": 7}),
    Visit(1, "POST", "/orders", (500,), {"coupon": "XMAS2019"}),
    Visit(1, "POST", "/orders", (201,), {"customer": "guest"}),
    Visit(1, "POST", "/orders", (201,), {"email": "eve@nowhere.invalid"}),
    Visit(3, "GET", "/reports/sales", (200,)),
    Visit(2, "GET", "/reports/quiet", (200,)),
    Visit(1, "POST", "/import", (200,), {"file": "prices.csv"}),
    Visit(1, "POST", "/import", (404,), {"file": "missing.csv"}),
    Visit(1, "POST", "/import", (403,), {"file": "locked.csv"}),
)


class Load:
    """One run of the load.

    ``answers`` counts the shop's answers by route and status, 0 for no answer.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wrong = 0
        self.cents = 0
        self._url = url
        self._seed = seed

    def run(self, total: int, rate: float) -> None:
        """Send ``total`` requests, ``rate`` of them per second, or as fast as the shop answers."""
        start = time.monotonic()

        def visitor(number: int) -> list[tuple[str, int, int, bool]]:
            seen = []
            for i in range(number, total, VISITORS):
                time.sleep(max(0.0, start + i / rate - time.monotonic()))
                seen += self._visit(i)
            return seen

        with ThreadPoolExecutor(VISITORS, thread_name_prefix="visitor") as pool:
            for seen in pool.map(visitor, range(VISITORS)):
                for route, status, cents, right in seen:
                    self.answers[route, status] += 1
                    self.cents += cents
                    self.wrong += not right

    def _visit(self, i: int) -> list[tuple[str, int, int, bool]]:
        chance = random.Random(f"{self._seed} {i}")
        weights = [visit.weight for visit in VISITS]
        visit = VISITS[i] if i < len(VISITS) else chance.choices(VISITS, weights)[0]
        body = visit.body
        if visit.route == "/orders":
            name = chance.choice(("ann", "ben", "cleo", "dan"))
            body = {"product": chance.randint(1, 6), "quantity": chance.randint(1, 3), "customer": name}
            body |= {"email": f"{name}@example.org", "card": "tok_ok", "coupon": chance.choice((None, None, "TEA10"))}
            body |= visit.body or {}
        status, answer = self._ask(visit.method, visit.route.format(number=chance.randint(1, 7)), body)
        route = f"{visit.method} {visit.route.replace('999', '{number}')}"
        cents = int(answer["cents"]) if status == 201 else 0
        seen = [(route, status, cents, status in visit.answers)]
        if status == 201:
            # A customer looks at the order that was just placed.
            status, _ = self._ask("GET", f"/orders/{answer['order']}")
            seen.append(("GET /orders/{number}", status, 0, status == 200))
        return seen

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        # A connection for each request: uvicorn closes one after a status 500, which would fail the
        # next request on it.
        try:
            answer = requests.request(method, self._url + path, json=body, timeout=30)
        except requests.RequestException as error:
            print(f"load: {method} {path}: {error}", file=sys.stderr)
            return 0, None
        return answer.status_code, answer.json() if answer.ok else None

    def summary(self) -> str:
        """Return the business of the run in three lines."""
        orders = {status: n for (route, status), n in sorted(self.answers.items()) if route == "POST /orders"}
        failed = sum(n for status, n in orders.items() if status not in (201, 402, 409))
        return (
            f"requests: {sum(self.answers.values())}, {self.wrong} with an unexpected answer\n"
            f"orders:   {orders.get(201, 0)} placed, {orders.get(402, 0)} refused, "
            f"{orders.get(409, 0)} out of stock, {failed} failed\n"
            f"sales:    {self.cents / 100:.2f} EUR"
        )


def main() -> int:
    """Run the load and print its summary; 1 if an answer was not the expected one."""
    parser = argparse.ArgumentParser(description="Customers of the demo shop")
    parser.add_argument("url", help="where the shop answers")
    add_load_options(parser)
    parser.add_argument("--answers", type=Path, metavar="FILE", help="write the number of answers by route and status")
    options = parser.parse_args()
    end_orderly()
    load = Load(options.url, options.seed)
    load.run(round(options.seconds * options.requests_per_second), options.requests_per_second)
    if options.answers:
        rows = [{"route": route, "status": status, "count": n} for (route, status), n in sorted(load.answers.items())]
        options.answers.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    print(load.summary())
    return 1 if load.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
