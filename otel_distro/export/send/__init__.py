"""Sends spooled batches: endpoint, transport, retries, bisection of rejected batches."""
