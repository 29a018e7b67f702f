"""Audit records, of one decision and of a file of decisions."""

from expnet.audit.record import Asked as Asked
from expnet.audit.record import AuditRecord as AuditRecord
from expnet.audit.record import record_decision as record_decision
from expnet.audit.verifying import Difference as Difference
from expnet.audit.verifying import verify as verify
