"""Log records and business events."""

from __future__ import annotations

from otel_distro.schema.kinds import Attribute, Metric

LOG_DUPLICATES = Attribute(
    "otel_distro.log.duplicates", "Number of equal records that were dropped since the last one that was sent."
)
EVENT_OUTCOME = Attribute(
    "otel_distro.event.outcome", "Outcome of the business event.", ("success", "failure", "unknown")
)
EVENT_ORIGINAL_NAME = Attribute(
    "otel_distro.event.original_name", "Name passed for an event, if it is not a valid event name."
)

LOG_DEDUPLICATED = Metric(
    "otel_distro.log.deduplicated", "counter", "{log_record}", "Repeated log records that were replaced by a later one."
)
LOG_FILE_DROPPED = Metric(
    "otel_distro.log.file.dropped",
    "counter",
    "{log_record}",
    "Log records that could not be written to the local file.",
)
