"""Collects metrics on an interval and keeps a checkpoint of the counters on disk."""
