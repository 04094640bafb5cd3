"""Sources of exceptions, one module per source."""
