"""Audit records, of one decision and of a file of decisions."""

from expnet.audit.chain import check_chain as check_chain
from expnet.audit.chain import hash_of as hash_of
from expnet.audit.context import DecisionContext as DecisionContext
from expnet.audit.context import Signature as Signature
from expnet.audit.context import read_context as read_context
from expnet.audit.record import Asked as Asked
from expnet.audit.record import AuditRecord as AuditRecord
from expnet.audit.recording import record_decision as record_decision
from expnet.audit.verifying import Difference as Difference
from expnet.audit.verifying import verify as verify
