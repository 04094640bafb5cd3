"""The shop's HTTP API. Runs alone with ``python -m demo.shop``.

Environment: ``SHOP_DATA``, the folder for its files (default ``.demo``), and ``PAYMENTS_URL``, the
payment provider (default http://127.0.0.1:8001).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from demo.background import Mailroom
from demo.jobs import Jobs, Scheduler
from demo.orders import CardRefused, NewOrder, OrderDesk, PaymentFailed
from demo.papers import Papers
from demo.service import serve
from demo.store import OutOfStock, Product, Store

logger = logging.getLogger("shop")

DATA = Path(os.environ.get("SHOP_DATA", ".demo"))
PAYMENTS = os.environ.get("PAYMENTS_URL", "http://127.0.0.1:8001")

papers = Papers(DATA)
store = Store(DATA / "shop.db")
mailroom = Mailroom(papers)
desk = OrderDesk(store, papers, mailroom, PAYMENTS)
jobs = Jobs(store, papers, PAYMENTS)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the shop, and close it when the server stops."""
    papers.prepare()
    store.create_tables()
    store.set_prices(papers.price_list("prices.csv"))
    # The first customer already finds a report.
    jobs.sales_report()
    scheduler = Scheduler()
    scheduler.every(2, jobs.stock_sync)
    scheduler.every(5, jobs.sales_report)
    scheduler.every(4, jobs.settlement)
    scheduler.every(7, jobs.exchange_rates)
    scheduler.start()
    logger.info("the shop is open")
    yield
    scheduler.stop()
    mailroom.close()
    store.close()
    logger.info("the shop is closed")


app = FastAPI(title="Demo shop", lifespan=lifespan)


class Import(BaseModel):
    """Name of a price list in the inbox."""

    file: str


@app.get("/health")
def health() -> dict[str, str]:
    """Answer the health check."""
    return {"status": "ok"}


@app.get("/products")
def list_products() -> list[dict[str, Any]]:
    """Return all products."""
    return [_shown(product) for product in store.products()]


@app.get("/products/{number}")
def get_product(number: int) -> dict[str, Any]:
    """Return one product, or 404."""
    return _shown(_product(number))


@app.post("/orders", status_code=201)
def place_order(wanted: NewOrder) -> dict[str, Any]:
    """Sell: 201; 404 no such product, 409 out of stock, 402 card refused, 502 no payment."""
    product = _product(wanted.product)
    try:
        order = desk.place(product, wanted)
    except OutOfStock:
        raise HTTPException(409, "out of stock") from None
    except CardRefused:
        raise HTTPException(402, "card refused") from None
    except PaymentFailed:
        raise HTTPException(502, "the payment provider does not answer") from None
    return {"order": order.id, "cents": order.cents}


@app.get("/orders/{number}")
def get_order(number: int) -> dict[str, Any]:
    """Return an order, with the receipt of a paid one, or 404."""
    order = store.order(number)
    if order is None:
        raise HTTPException(404, "no such order")
    receipt = papers.receipt(number) if order.status == "paid" else None
    return {"order": order.id, "status": order.status, "cents": order.cents, "receipt": receipt}


@app.get("/reports/sales")
def sales_report() -> Any:
    """Return the last sales report, or 404 before the first one."""
    try:
        return papers.sales()
    except FileNotFoundError:
        raise HTTPException(404, "no report yet") from None


@app.get("/reports/quiet")
def quiet_report() -> dict[str, int]:
    """Return how many seconds of the last week saw no order: a slow query."""
    return {"seconds": store.quiet_seconds()}


@app.post("/import")
def import_prices(wanted: Import) -> dict[str, int]:
    """Apply the prices of a list: 200, 404 if it is missing, 403 if it may not be read."""
    try:
        prices = papers.price_list(wanted.file)
    except FileNotFoundError:
        logger.exception("price list %s is missing", wanted.file)
        raise HTTPException(404, "no such price list") from None
    except PermissionError:
        logger.exception("price list %s may not be read", wanted.file)
        raise HTTPException(403, "the price list may not be read") from None
    store.set_prices(prices)
    logger.info("%d prices imported from %s", len(prices), wanted.file, extra={"prices": len(prices)})
    return {"prices": len(prices)}


def _product(number: int) -> Product:
    product = store.product(number)
    if product is None:
        raise HTTPException(404, "no such product")
    return product


def _shown(product: Product) -> dict[str, Any]:
    return {"id": product.id, "name": product.name, "price": product.cents / 100, "stock": product.stock}


if __name__ == "__main__":
    serve(app)
