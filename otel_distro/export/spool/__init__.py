"""The spool: batches on disk until the collector has acknowledged them."""
