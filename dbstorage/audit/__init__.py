"""Proof that nothing was lost: what became of each entry of the command stream, read back from the database."""

from dbstorage.audit.report import AuditReport, MissingEntry
from dbstorage.audit.walk import audit

__all__ = ["AuditReport", "MissingEntry", "audit"]
