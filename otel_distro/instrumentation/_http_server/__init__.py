"""The request of an HTTP server, the same for WSGI, ASGI and servers with a protocol of their own.

``request`` is one request: its span, its measurement, its context. ``wsgi`` and ``asgi`` call an
application inside one. ``options`` are the settings of one framework, by upstream's names.
``attributes`` holds what a request and a response are described by.
"""
