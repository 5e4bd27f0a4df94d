"""Measures the service against other ways to do the same, on servers of its own (`make bench`, docs/performance.md)."""
