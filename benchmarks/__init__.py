"""Measurements of bridgeserve beside other servers: `python -m benchmarks --help`."""
