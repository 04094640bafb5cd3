"""The dashboards of the bundle: written in Python over the names registry, committed as the JSON that Grafana loads.

A board is one file in ``grafana/boards`` with a function ``dashboard()``. ``python -m grafana`` writes the JSON.
"""
