"""Taking an order: reserve the products, charge the card, write the receipt, queue the rest."""

from __future__ import annotations

import logging

import requests
from pydantic import BaseModel, PositiveInt

from demo.background import Mailroom, give_bonus
from demo.business import report
from demo.papers import Papers
from demo.store import Order, OutOfStock, Product, Store

logger = logging.getLogger("shop.orders")

DISCOUNTS = {None: 0, "TEA10": 10, "TEA20": 20}
"""Percent off by coupon."""


class NewOrder(BaseModel):
    """An order of a customer."""

    product: int
    quantity: PositiveInt = 1
    customer: str = "guest"
    email: str
    card: str
    coupon: str | None = None


class CardRefused(Exception):
    """The payment provider refused the card."""


class PaymentFailed(Exception):
    """The payment provider gave no usable answer."""


class OrderDesk:
    """Takes orders; may be called from any thread."""

    def __init__(self, store: Store, papers: Papers, mailroom: Mailroom, payments: str) -> None:
        self._store = store
        self._papers = papers
        self._mailroom = mailroom
        self._payments = payments

    def place(self, product: Product, wanted: NewOrder) -> Order:
        """Take an order, or raise :exc:`OutOfStock`, :exc:`CardRefused`, :exc:`PaymentFailed`."""
        # An expired coupon is not in the table: the KeyError is the bug behind the demo's status
        # 500.
        cents = product.cents * wanted.quantity * (100 - DISCOUNTS[wanted.coupon]) // 100
        try:
            order = self._store.reserve(product, wanted.quantity, cents, wanted.customer)
        except OutOfStock:
            logger.warning("%s is out of stock", product.name, extra={"product": product.id})
            raise
        self._pay(order, wanted.card)
        goods, price = f"{wanted.quantity} x {product.name}", f"{cents / 100:.2f} EUR"
        self._papers.write_receipt(order.id, f"{goods}: {price}\n")
        self._mailroom.confirm(order, wanted.email)
        give_bonus(order)
        numbers = {"order": order.id, "product": product.id, "quantity": order.quantity, "cents": cents}
        logger.info("order %d placed: %s, %s", order.id, goods, price, extra=numbers)
        return order

    def _pay(self, order: Order, card: str) -> None:
        wanted = {"order": order.id, "cents": order.cents, "card": card}
        try:
            answer = requests.post(f"{self._payments}/charges", json=wanted, timeout=5)
            if answer.status_code != 402:
                answer.raise_for_status()
        except requests.RequestException as error:
            self._store.settle(order, "failed")
            logger.exception("order %d failed: not charged", order.id)
            raise PaymentFailed from error
        if answer.status_code == 402:
            self._store.settle(order, "refused")
            report("order.paid", failed=True, user=order.customer, cents=order.cents, reason="card refused")
            logger.warning("order %d refused, %.2f EUR", order.id, order.cents / 100, extra={"cents": order.cents})
            raise CardRefused
        self._store.settle(order, "paid")
        report("order.paid", user=order.customer, cents=order.cents)
