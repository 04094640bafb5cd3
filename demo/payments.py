"""The payment provider: charges or refuses a card. Runs alone with ``python -m demo.payments``.

The result depends on the card: ``tok_refused`` is refused (402), ``tok_slow`` takes most of a
second, ``tok_down`` finds the bank out of order (503); every other card is charged at once.
"""

from __future__ import annotations

import logging
import threading
import time

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, PositiveInt

from demo.service import serve

logger = logging.getLogger("payments")
app = FastAPI(title="Payment provider of the demo shop")

BANK_DELAY = 0.7
"""Seconds that a slow bank takes."""

_charges: list[int] = []
_lock = threading.Lock()


class Charge(BaseModel):
    """An amount to charge to a card."""

    order: int
    cents: PositiveInt
    card: str


@app.get("/health")
def health() -> dict[str, str]:
    """Answer the health check."""
    return {"status": "ok"}


@app.post("/charges", status_code=201)
def charge(wanted: Charge) -> dict[str, int]:
    """Charge a card: 201, 402 if it is refused, 503 if the bank does not answer."""
    if wanted.card == "tok_refused":
        logger.warning("card for order %d refused", wanted.order)
        raise HTTPException(402, "card refused")
    if wanted.card == "tok_down":
        logger.error("no answer from the bank for order %d", wanted.order)
        raise HTTPException(503, "the bank does not answer")
    if wanted.card == "tok_slow":
        time.sleep(BANK_DELAY)
    with _lock:
        _charges.append(wanted.cents)
        number = len(_charges)
    logger.info(
        "charge %d: %.2f EUR for order %d", number, wanted.cents / 100, wanted.order, extra={"cents": wanted.cents}
    )
    return {"charge": number}


@app.get("/balance")
def balance() -> dict[str, int]:
    """Return the total charged since the service started."""
    with _lock:
        return {"charges": len(_charges), "cents": sum(_charges)}


if __name__ == "__main__":
    serve(app)
