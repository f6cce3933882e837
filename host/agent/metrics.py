"""Figures of a node for Prometheus, read when they are asked for."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .agent import Agent

__all__ = ["metrics"]


class _NodeCollector(Collector):
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        plane = self._agent.plane
        if plane is None:
            return
        frames = CounterMetricFamily("polyrouter_frames", "Frames by what became of them",
                                     labels=["router", "port", "reason"])
        for row in plane.counters(None):
            frames.add_metric([row["router"], row["port"], row["reason"]], row["frames"])
        yield frames
        depth = GaugeMetricFamily("polyrouter_queue_depth", "Frames that wait in an output queue",
                                  labels=["router", "port"])
        for row in plane.queues():
            depth.add_metric([row["router"], row["port"]], row["depth"])
        yield depth
        hits = {unit: CounterMetricFamily(f"polyrouter_rule_{unit}", f"{unit.capitalize()} that a filter rule matched",
                                          labels=["router", "rule", "action"]) for unit in ("frames", "bytes")}
        for row in plane.all_filters():
            for unit, family in hits.items():
                family.add_metric([row["router"], str(row["rule"]), row["action"]], row[unit])
        yield from hits.values()
        yield from self._containers()

    def _containers(self) -> Iterator[Metric]:
        rows: list[dict[str, Any]] = self._agent.routers()
        for name, field, text in (
                ("polyrouter_container_memory_bytes", "memory_bytes", "Memory of a router's container"),
                ("polyrouter_routes", "fib", "Routes in a router's hardware FIB")):
            family = GaugeMetricFamily(name, text, labels=["router"])
            for row in rows:
                if row.get(field) is not None:
                    family.add_metric([row["name"]], row[field])
            yield family


def metrics(agent: Agent) -> str:
    """The figures as text."""
    registry = CollectorRegistry()
    registry.register(_NodeCollector(agent))
    return generate_latest(registry).decode()
