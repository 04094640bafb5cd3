"""A small web shop as something to observe: an ordinary program that does not know it is observed.

``python -m demo`` runs all of it for some seconds (``__main__.py``). The parts:

- ``shop.py``: the shop's HTTP API. Behind it: ``orders.py`` (taking an order), ``store.py`` (SQL),
  ``papers.py`` (files), ``background.py`` (mails and bonus points after an order), ``jobs.py``
  (periodic jobs).
- ``payments.py``: the payment provider, a second service, which the shop calls over HTTP.
- ``load.py``: the customers, who also cause the failures.
- ``service.py`` and ``process.py``: how a service listens, and how a process starts and ends.

Some requests fail, always for the same reasons: a refused card is answered 402, a product that is
sold out 409, a bank that is down 502, an expired coupon hits a bug (500), a price list is missing
(404) or locked (403), a mail cannot be sent, a job fails in every run, and bonus points for a guest
end in an uncaught exception.
"""
