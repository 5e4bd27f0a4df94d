"""Counters, figures from the servers, and probes: /metrics, /livez, /readyz, and what workers report to each other."""
