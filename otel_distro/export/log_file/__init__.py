"""The local log file: JSON lines, rotation, compression."""
