"""A small web shop, to have something to observe: an ordinary program that does not know it is observed.

``python -m demo`` runs all of it for some seconds (``__main__.py``). The parts:

- ``shop.py``: the shop's HTTP API. Behind it: ``orders.py`` (how an order goes), ``store.py`` (SQL), ``papers.py``
  (files), ``background.py`` (mails and bonus points after an order), ``jobs.py`` (work that comes round).
- ``payments.py``: the payment provider, a second service, which the shop calls over HTTP.
- ``load.py``: the customers, who also do what goes wrong.
- ``service.py`` and ``process.py``: how a service listens, and how a process starts and ends.

Not everything goes well, and always for the same reasons: a refused card is answered 402, an empty shelf 409, a bank
out of order 502, an expired coupon hits a bug (500), a price list is missing (404) or locked (403), a mail cannot be
sent, a job fails in every run, and bonus points for a guest end in an exception that nobody catches.
"""
