"""Sends spooled batches to the collector: endpoint, transport, retries, bisecting of rejected batches."""
