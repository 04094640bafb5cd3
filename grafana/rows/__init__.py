"""Rows that dashboards are put together from: each module holds the panels of one subject."""
