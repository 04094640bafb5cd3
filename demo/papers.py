"""The shop's files: incoming price lists, outgoing receipts, mails and reports."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

PRICES = Path(__file__).with_name("prices.csv")


class Price(NamedTuple):
    """A line of a price list."""

    id: int
    name: str
    cents: int
    target: int


class Papers:
    """The folders of one shop."""

    def __init__(self, data: Path) -> None:
        self.inbox = data / "inbox"
        self.receipts = data / "receipts"
        self.outbox = data / "outbox"
        self.reports = data / "reports"

    def prepare(self) -> None:
        """Create the folders, with one price list in the inbox and an unreadable one."""
        for folder in (self.inbox, self.receipts, self.outbox, self.reports):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PRICES, self.inbox / "prices.csv")
        locked = self.inbox / "locked.csv"
        locked.touch(mode=0)

    def price_list(self, name: str) -> list[Price]:
        """Read a price list of the inbox; raises ``FileNotFoundError`` and ``PermissionError``."""
        path = self.inbox / Path(name).name
        with path.open(newline="", encoding="utf-8") as lines:
            # The kernel lets root read every file; the demo must fail the same way for every user.
            if os.geteuid() == 0 and not os.fstat(lines.fileno()).st_mode & 0o400:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return [
                Price(int(row["id"]), row["name"], round(float(row["price"]) * 100), int(row["target"]))
                for row in csv.DictReader(lines)
            ]

    def exchange_rates(self) -> dict[str, float]:
        """Read the exchange rates, whose file never exists: always raises ``FileNotFoundError``."""
        rates: dict[str, float] = json.loads((self.inbox / "rates.json").read_text(encoding="utf-8"))
        return rates

    def write_receipt(self, order: int, text: str) -> None:
        """Keep the receipt of an order."""
        (self.receipts / f"order-{order}.txt").write_text(text, encoding="utf-8")

    def receipt(self, order: int) -> str:
        """Return the receipt of an order."""
        return (self.receipts / f"order-{order}.txt").read_text(encoding="utf-8")

    def write_mail(self, order: int, text: str) -> None:
        """Put a mail into the outbox."""
        (self.outbox / f"order-{order}.txt").write_text(text, encoding="utf-8")

    def write_sales(self, sales: list[dict[str, Any]]) -> None:
        """Replace the sales report atomically."""
        draft = self.reports / "sales.json.new"
        draft.write_text(json.dumps(sales, indent=2), encoding="utf-8")
        draft.replace(self.reports / "sales.json")

    def sales(self) -> Any:
        """Return the last sales report; raises ``FileNotFoundError`` before the first one."""
        return json.loads((self.reports / "sales.json").read_text(encoding="utf-8"))
