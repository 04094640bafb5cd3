"""The dashboards of the bundle: Python source over the names registry, committed as JSON.

A board is one file in ``grafana/boards`` with a function ``dashboard()``. ``python -m grafana``
writes the JSON that Grafana loads.
"""
