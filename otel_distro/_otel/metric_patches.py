"""Patches of metrics: collection, forks, cost; :mod:`otel_distro._otel.patches` lists them."""

from __future__ import annotations

from otel_distro._otel.needs import Fields, Name, Parameters
from otel_distro._otel.patch import Patch

_METRICS = "opentelemetry.sdk.metrics._internal"
_RECORD_PARAMETERS = ("self", "amount", "attributes", "context")

METRIC_PARTS = Patch(
    "the collection of metrics in parts",
    "otel_distro/_otel/metrics.py",
    "A callback that hangs is left out after two seconds; `MetricReader.collect()` waits for it.",
    (
        Fields("reader", ("_collect.__self__",)),
        Fields("consumer", ("_reader_storages", "_async_instruments", "_sdk_config.exemplar_filter")),
        Fields("observable", ("_is_enabled", "_callbacks")),
        Fields("storage", ("collect", "consume_measurement")),
        Name(f"{_METRICS}.measurement:Measurement"),
        Parameters(f"{_METRICS}.metric_reader_storage:MetricReaderStorage.collect", ("self",)),
    ),
    "Metrics are collected at once: a callback that hangs stops all metrics of this process.",
    "`InMemoryMetricReader.get_metrics_data()`, which is the fallback.",
)
SNAPSHOTS = Patch(
    "the checkpoint of counters",
    "otel_distro/_otel/metrics.py",
    "Counters are on disk within about 50 ms, so that a killed process loses none.",
    (
        Parameters(
            f"{_METRICS}.measurement_consumer:SynchronousMeasurementConsumer.consume_measurement",
            ("self", "measurement"),
        ),
        Fields("reader", ("_collect.__self__",)),
        Fields("consumer", ("_reader_storages", "_sdk_config.exemplar_filter")),
        Fields("storage", ("_instrument_view_instrument_matches",)),
        Fields("match", ("_attributes_aggregation", "_lock")),
        Fields("series", ("_value", "_lock", "_reservoir")),
        Fields("exponential", ("_value_positive", "_value_negative")),
    ),
    "A process that is killed loses what it counted since the last export.",
    "A second `MetricReader` doubles the cost of every measurement and calls every callback.",
    verify="otel_distro._otel.metrics:verify_snapshot",
)
COUNTER_RESET = Patch(
    "the reset of counters in a forked child",
    "otel_distro/_otel/sdk.py",
    "A forked child must not report what its parent has counted.",
    (
        Fields("meter_provider", ("_measurement_consumer._reader_storages",)),
        Fields("storage", ("_instrument_view_instrument_matches",)),
        Fields("match", ("_attributes_aggregation",)),
    ),
    "A forked child reports the counts of its parent a second time.",
    "None; a reset after a fork is missing upstream.",
)
CARDINALITY = Patch(
    "the cardinality limit",
    "otel_distro/_otel/cardinality.py",
    "An attribute with a new value in every call would use up the memory of the process and of the backend.",
    (
        Name(f"{_METRICS}.metric_reader_storage:_ViewInstrumentMatch"),
        Fields("match", ("_attributes_aggregation", "_name")),
        Fields("series", ("_attributes",)),
    ),
    "OTEL_DISTRO_CARDINALITY_LIMIT has no effect on OpenTelemetry before 1.45.2; later ones limit silently.",
    "`MetricReader(cardinality_limits=...)`, which is used where it exists (from 1.45.2).",
    verify="otel_distro._otel.cardinality:verify",
)
FAST_MEASUREMENTS = Patch(
    "the fast path of measurements",
    "otel_distro/_otel/fast_measurements.py",
    "Two thirds of a measurement's cost are spent on cleaning its attributes and finding its series.",
    (
        Parameters("opentelemetry.attributes:_clean_attribute_value", ("value", "max_string_value_length")),
        Name(f"{_METRICS}.measurement:_clean_attribute_value"),
        Parameters(f"{_METRICS}._view_instrument_match:_hash_attributes", ("value",)),
        Parameters(
            f"{_METRICS}.measurement:Measurement.__init__",
            ("self", "value", "time_unix_nano", "instrument", "context", "attributes"),
        ),
        Parameters(
            f"{_METRICS}.metric_reader_storage:MetricReaderStorage.consume_measurement",
            ("self", "measurement", "should_sample_exemplar"),
        ),
        Fields("storage", ("_instrument_view_instrument_matches",)),
        Fields(
            "match",
            ("_attributes_aggregation", "_view._attribute_keys", "consume_measurement"),
            optional=("_reset_on_collect",),
        ),
        Fields("series", ("aggregate",)),
    ),
    "Measurements are recorded the SDK's way, which is slower.",
    "None.",
    since=(1, 45),
    verify="otel_distro._otel.fast_measurements:verify_plain",
)
FAST_INSTRUMENTS = Patch(
    "the direct addition of numbers",
    "otel_distro/_otel/fast_instruments.py",
    "A number with attributes that were seen before is added to their series: a fifth of the SDK's cost.",
    (
        Parameters("opentelemetry.sdk.metrics:Counter.add", _RECORD_PARAMETERS),
        Parameters("opentelemetry.sdk.metrics:UpDownCounter.add", _RECORD_PARAMETERS),
        Parameters("opentelemetry.sdk.metrics:Histogram.record", _RECORD_PARAMETERS),
        Parameters("opentelemetry.sdk.metrics:_Gauge.set", _RECORD_PARAMETERS),
        Fields("counter", ("_measurement_consumer", "_meter_config._config.is_enabled")),
        Fields("consumer", ("_reader_storages", "_sdk_config.exemplar_filter")),
        Fields("storage", ("_instrument_view_instrument_matches",)),
        Fields("match", ("_attributes_aggregation", "_view._attribute_keys"), optional=("_reset_on_collect",)),
        Parameters(f"{_METRICS}._view_instrument_match:_hash_attributes", ("value",)),
        Name(f"{_METRICS}.aggregation:_SumAggregation"),
        Name(f"{_METRICS}.aggregation:_ExplicitBucketHistogramAggregation"),
        Name(f"{_METRICS}.aggregation:_LastValueAggregation"),
        Name(f"{_METRICS}.measurement:Measurement"),
        Fields("series", ("_value", "_lock", "_reservoir.offer")),
        Fields(
            "histogram",
            (
                "_value",
                "_lock",
                "_sum",
                "_min",
                "_max",
                "_record_min_max",
                "_boundaries",
                "_get_empty_bucket_counts",
                "_reservoir.offer",
            ),
        ),
        Fields("span", ("_context.trace_flags",)),
    ),
    "Numbers are recorded the SDK's way, which is slower.",
    "None.",
    since=(1, 45),
    verify="otel_distro._otel.fast_instruments:verify",
)
