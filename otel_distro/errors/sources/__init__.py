"""Where exceptions are found: one module per source."""
