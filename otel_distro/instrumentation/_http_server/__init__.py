"""The request of an HTTP server, the same for WSGI, ASGI and servers with a protocol of their own.

``request`` is one request: its span, its measurement, its context. ``request_start`` makes it,
``carrier`` is where applications find it, ``wsgi`` and ``asgi`` call one inside it. ``options`` are
the settings of one framework, by upstream's names.
"""
