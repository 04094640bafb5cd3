"""Audit events: who did what to which target, with which outcome."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    CLIENT_ADDRESS,
    CODE_FILE_PATH,
    CODE_FUNCTION_NAME,
    CODE_LINE_NUMBER,
    FILE_PATH,
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
    PROCESS_COMMAND_ARGS,
    URL_PATH,
    USER_ID,
)
from otel_distro.schema.kinds import Attribute, Event, Metric

AUDIT_NAME = Attribute("audit.name", "Name of the audit event, without the root.")
AUDIT_OUTCOME = Attribute("audit.outcome", "Outcome of the action.", ("success", "failure", "unknown"))
AUDIT_ACTOR = Attribute("audit.actor", "Who acted.")
AUDIT_TARGET = Attribute("audit.target", "Target of the action.")
AUDIT_REASON = Attribute("audit.reason", "Reason of the outcome.")
AUDIT_SOURCE = Attribute(
    "audit.source", "What observed it.", ("application", "interpreter", "http", "framework", "auditd")
)
AUDIT_CHAIN_STATE = Attribute("audit.chain.state", "State of the audit file's hash chain.", ("intact", "broken"))
AUDIT_CHAIN_SEQUENCE = Attribute("audit.chain.sequence", "Number of the event's line in the audit file.")
AUDIT_CHAIN_HASH = Attribute(
    "audit.chain.hash", "Hash of that line: with the key, a copy of it elsewhere proves the file up to it."
)
NETWORK_PEER_ADDRESS = Attribute("network.peer.address", "Address of the peer, or path of its socket.")
NETWORK_PEER_PORT = Attribute("network.peer.port", "Port of the peer.")

_FIELDS = (AUDIT_NAME, AUDIT_OUTCOME, AUDIT_ACTOR, AUDIT_TARGET, AUDIT_REASON, AUDIT_SOURCE, CLIENT_ADDRESS)

AUDIT_EVENTS = Metric("audit.events", "counter", "{event}", "Audit events.", (AUDIT_NAME, AUDIT_OUTCOME, AUDIT_SOURCE))
AUDIT_EVENTS_RATE_LIMITED = Metric(
    "audit.events.rate_limited",
    "counter",
    "{event}",
    "Audit events beyond the rate limit, which are not sent.",
    (AUDIT_NAME,),
)
AUDIT_CHAIN_STATUS = Metric(
    "audit.chain.status",
    "gauge",
    "{file}",
    "State of the audit file: 1 for the current state, 0 for the other.",
    (AUDIT_CHAIN_STATE,),
)

AUDIT_CHAIN_BROKEN = Event("audit.chain.broken", "A change of the audit file was detected.", _FIELDS)
AUDIT_FILE_SENSITIVE = Event("audit.file.sensitive", "A sensitive file was opened.", (*_FIELDS, FILE_PATH))
AUDIT_PROCESS_START = Event("audit.process.start", "A process was started.", (*_FIELDS, PROCESS_COMMAND_ARGS))
AUDIT_NETWORK_PEER = Event(
    "audit.network.peer",
    "A peer was connected to for the first time.",
    (*_FIELDS, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT),
)
AUDIT_CODE_TEXT = Event(
    "audit.code.text",
    "A text was compiled or executed as code.",
    (*_FIELDS, CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER),
)
AUDIT_CODE_NATIVE = Event("audit.code.native", "Native code was loaded through ctypes.", _FIELDS)
AUDIT_CODE_TEMPORARY = Event(
    "audit.code.temporary", "A module was imported from a temporary folder.", (*_FIELDS, FILE_PATH)
)
AUDIT_PRIVILEGE_CHANGE = Event("audit.privilege.change", "The process changed its user, group or privileges.", _FIELDS)
AUDIT_HTTP_REFUSED = Event(
    "audit.http.refused",
    "A request was answered with 401 or 403.",
    (*_FIELDS, HTTP_REQUEST_METHOD, HTTP_ROUTE, HTTP_RESPONSE_STATUS_CODE, URL_PATH),
)
AUDIT_AUTH_LOGIN = Event("audit.auth.login", "A login was attempted.", (*_FIELDS, USER_ID))
