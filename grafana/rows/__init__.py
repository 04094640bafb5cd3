"""Rows that dashboards consist of: each module holds the panels of one subject."""
