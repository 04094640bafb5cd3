"""The shop's database: products and orders in SQLite."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, create_engine, event, func, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from demo.papers import Price


class OutOfStock(Exception):
    """Fewer pieces are in stock than the customer ordered."""


class Base(DeclarativeBase):
    """Base of the tables."""


class Product(Base):
    """A product; ``stock`` is the current number of pieces, ``target`` the wanted one."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    cents: Mapped[int]
    stock: Mapped[int]
    target: Mapped[int]


class Order(Base):
    """An order; ``status`` is ``pending``, ``paid``, ``refused`` or ``failed``."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    cents: Mapped[int]
    customer: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    created: Mapped[float] = mapped_column(default=time.time)


# One row for each second of a week, and a lookup in the orders for each: slow on purpose.
_QUIET_SECONDS = text("""
    WITH RECURSIVE week(second) AS (
        SELECT :now - 604800 UNION ALL SELECT second + 1 FROM week WHERE second < :now
    )
    SELECT count(*) FROM week WHERE second NOT IN (SELECT CAST(created AS INTEGER) FROM orders)
""")


class Store:
    """All queries to the database. Every method is one transaction, callable from any thread."""

    def __init__(self, path: Path) -> None:
        # Writers wait for each other for up to 10 seconds instead of failing.
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
        event.listen(self._engine, "connect", _readers_do_not_wait)
        self._session = sessionmaker(self._engine, expire_on_commit=False)

    def create_tables(self) -> None:
        """Create the missing tables."""
        Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def set_prices(self, prices: Sequence[Price]) -> None:
        """Add new products with a full stock; update name and price of known ones."""
        rows = [{**price._asdict(), "stock": price.target} for price in prices]
        statement = insert(Product)
        new = statement.excluded
        with self._session.begin() as session:
            session.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_={"name": new.name, "cents": new.cents}),
                rows,
            )

    def products(self) -> Sequence[Product]:
        """Return all products by name."""
        with self._session() as session:
            return session.scalars(select(Product).order_by(Product.name)).all()

    def product(self, number: int) -> Product | None:
        """Return one product."""
        with self._session() as session:
            return session.get(Product, number)

    def order(self, number: int) -> Order | None:
        """Return one order."""
        with self._session() as session:
            return session.get(Order, number)

    def reserve(self, product: Product, quantity: int, cents: int, customer: str) -> Order:
        """Reserve the pieces and insert the order as pending, or raise :exc:`OutOfStock`."""
        order = Order(product_id=product.id, quantity=quantity, cents=cents, customer=customer)
        enough = (Product.id == product.id) & (Product.stock >= quantity)
        with self._session.begin() as session:
            taken = update(Product).where(enough).values(stock=Product.stock - quantity).returning(Product.id)
            if session.scalar(taken) is None:
                raise OutOfStock(product.name)
            session.add(order)
        return order

    def settle(self, order: Order, status: str) -> None:
        """Set the order's final status; unless it is paid, return the pieces to the stock."""
        with self._session.begin() as session:
            session.execute(update(Order).where(Order.id == order.id).values(status=status))
            if status != "paid":
                back = update(Product).where(Product.id == order.product_id)
                session.execute(back.values(stock=Product.stock + order.quantity))

    def fill_stock(self) -> int:
        """Restock every product to its target; return the number of pieces."""
        with self._session.begin() as session:
            short = Product.stock < Product.target
            missing = session.scalar(select(func.sum(Product.target - Product.stock)).where(short)) or 0
            session.execute(update(Product).where(short).values(stock=Product.target))
        return missing

    def sales(self) -> list[dict[str, Any]]:
        """Return number and value of the orders by product and status."""
        statement = (
            select(Product.name, Order.status, func.count().label("orders"), func.sum(Order.cents).label("cents"))
            .join_from(Order, Product)
            .group_by(Product.name, Order.status)
            .order_by(Product.name, Order.status)
        )
        with self._session() as session:
            return [dict(row) for row in session.execute(statement).mappings()]

    def quiet_seconds(self) -> int:
        """Return how many seconds of the last week saw no order."""
        with self._session() as session:
            return int(session.scalar(_QUIET_SECONDS, {"now": int(time.time())}) or 0)


def _readers_do_not_wait(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
