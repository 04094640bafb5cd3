"""Log records and business events."""

from __future__ import annotations

from otel_distro.schema.kinds import Attribute, Metric

LOG_DUPLICATES = Attribute(
    "otel_distro.log.duplicates", "How many equal records were folded into this one since the last that was sent."
)
EVENT_OUTCOME = Attribute(
    "otel_distro.event.outcome", "How what the business event tells of ended.", ("success", "failure", "unknown")
)
EVENT_ORIGINAL_NAME = Attribute(
    "otel_distro.event.original_name", "Name that an event was given, where it is none that an event may have."
)

LOG_DEDUPLICATED = Metric(
    "otel_distro.log.deduplicated", "counter", "{log_record}", "Repeated log records that were folded into a later one."
)
LOG_FILE_DROPPED = Metric(
    "otel_distro.log.file.dropped",
    "counter",
    "{log_record}",
    "Log records that could not be written to the local file.",
)
