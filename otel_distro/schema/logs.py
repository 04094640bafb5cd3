"""Log records and business events."""

from __future__ import annotations

from otel_distro.schema.kinds import Attribute, Metric

LOG_REPEATS = Attribute(
    "otel_distro.log.repeats", "How many equal records were folded into this one since the last that was sent."
)
EVENT_OUTCOME = Attribute(
    "otel_distro.event.outcome", "How what the business event tells of ended.", ("success", "failure", "unknown")
)
EVENT_GIVEN_NAME = Attribute(
    "otel_distro.event.given_name", "Name that an event was given, where it is none that an event may have."
)

LOG_FOLDED = Metric(
    "otel_distro.log.folded", "counter", "{log_record}", "Repeated log records that were folded into a later one."
)
LOG_FILE_LOST = Metric(
    "otel_distro.log.file.lost", "counter", "{log_record}", "Log records that could not be written to the local file."
)
