"""The way of an ended item to the collector: queue, bytes, HTTP; what fork, signals and exit do to it."""
