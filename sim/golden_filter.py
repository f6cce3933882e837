"""Filter and policers of the golden model: steps 6 and 12 of ``docs/dataplane.md``."""

from polyrouter.hdl.layouts import FILTER_KEY, Reason, Table, TrafficClass, pack

from .golden_packet import Frame
from .golden_rows import Action, Context, Policer, Rule
from .golden_tables import Tables
from .golden_verdict import Verdict

__all__ = ["filter_key", "matching_rule", "passes_policers", "sent_by_rule", "with_class"]

FCS_BYTES = 4


def filter_key(frame: Frame) -> int:
    """What the rules are compared with."""
    packet = frame.packet
    fields = {"port": frame.port, "tagged": frame.tci is not None, "vid": frame.vid, "pcp": (frame.tci or 0) >> 13,
              "dmac": frame.dmac, "smac": frame.smac, "ethertype": frame.ethertype}
    if packet is not None:
        shift = 96 if packet.ipv6 else 0
        fields |= {"ip_source": packet.source >> shift, "ip_destination": packet.destination >> shift,
                   "protocol": packet.protocol, "tos": packet.tos,
                   "l4_source": packet.l4_source, "l4_destination": packet.l4_destination}
    return pack(FILTER_KEY, fields)


def matching_rule(tables: Tables, context: Context, frame: Frame) -> int | None:
    """Row of the filter table that decides, the lowest of the router's window that matches."""
    key = filter_key(frame) if context.filter_size else 0
    end = min(context.filter_base + context.filter_size, tables.config.filter_rules)
    for address in range(context.filter_base, end):
        if tables.row(Table.FILTER, Rule, address).matches(key):
            return address
    return None


def sent_by_rule(tables: Tables, context: Context, action: Action) -> Verdict:
    """What becomes of a frame that a rule sends."""
    ports = tables.data_ports(action.ports & context.ports)
    return Verdict(Reason.SWITCHED, ports) if ports else Verdict.drop(Reason.DROP_NO_PORT)


def with_class(verdict: Verdict, action: Action) -> Verdict:
    """With the class that a rule sets for copies to data ports."""
    return verdict._replace(traffic_class=TrafficClass(action.traffic_class)) if action.set_class else verdict


def passes_policers(tables: Tables, context: Context, action: Action, frame: Frame) -> bool:
    """Ask the router's policer, then the rule's, and take the frame's bytes out of those that let it pass."""
    length = frame.received + FCS_BYTES
    if not _passes(tables, context, 0, length):
        return False
    return not action.police or _passes(tables, context, action.policer, length)


def _passes(tables: Tables, context: Context, row: int, length: int) -> bool:
    address = context.policer_base + row
    if row >= context.policer_size or address >= tables.config.policers:
        return True
    if not tables.row(Table.POLICER, Policer, address).limit:
        return True
    if tables.tokens.get(address, 0) < length:
        return False
    tables.tokens[address] -= length
    return True
