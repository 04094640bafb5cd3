"""The version of the distribution, read by the build and sent as ``telemetry.distro.version``."""

__version__ = "0.1.0"
