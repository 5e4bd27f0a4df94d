"""Entries, payloads and answers as bytes. Pure."""
