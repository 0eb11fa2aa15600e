"""The warm models: catalog, weights, pool, and one engine family per surface."""

from models.telemetry import switch_off

switch_off()  # before any module of ours can import a library that reports
