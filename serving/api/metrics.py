"""Prometheus figures of one worker. Labels are route templates and goals, never identities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from features.time import MICROS_PER_SECOND
from serving.generations import Generations
from serving.served import ServedLog

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What this worker has done since it started."""

    def __init__(self, generations: Generations, served: ServedLog) -> None:
        self._registry = CollectorRegistry()
        requests = Counter(
            "likelier_http_requests", "Requests answered, by route template.",
            ("route", "method", "status"), registry=self._registry,
        )  # fmt: skip
        seconds = Histogram(
            "likelier_http_request_seconds", "Time from the request to the end of its answer.",
            ("route", "method"), buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        scores = Counter(
            "likelier_scores", "Scores answered, by goal and status.", ("goal", "status"),
            registry=self._registry,
        )  # fmt: skip
        events = Counter(
            "likelier_events", "Events sent, by what became of them: accepted, duplicate, a code.",
            ("outcome",), registry=self._registry,
        )  # fmt: skip
        # Few labels come, and come again: the figure behind each is looked up once.
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)
        self._scores, self._events = cache(scores.labels), cache(events.labels)
        self._registry.register(_Standing(generations, served))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; an invented method is counted as OTHER."""
        named = method if method in METHODS else "OTHER"
        self._requests(route, named, str(status)).inc()
        self._seconds(route, named).observe(seconds)

    def scored(self, scores: Mapping[str, Mapping[str, Any]]) -> None:
        """Count the scores of one person."""
        for goal, score in scores.items():
            self._scores(goal, score["status"]).inc()

    def taken(self, outcomes: Mapping[str, int]) -> None:
        """Count events by what became of them."""
        for outcome, count in outcomes.items():
            self._events(outcome).inc(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text form."""
        return generate_latest(self._registry)


class _Standing(Collector):
    """Figures that others keep, read when they are asked for."""

    def __init__(self, generations: Generations, served: ServedLog) -> None:
        self._generations = generations
        self._served = served

    def collect(self) -> Iterable[Metric]:
        loads = CounterMetricFamily(
            "likelier_generations", "Published runs taken up or refused.", labels=["outcome"]
        )
        loads.add_metric(["loaded"], self._generations.loaded)
        loads.add_metric(["refused"], self._generations.failed)
        answers = CounterMetricFamily(
            "likelier_served_log", "Sampled answers, by what became of them.", labels=["outcome"]
        )
        answers.add_metric(["written"], self._served.written)
        answers.add_metric(["dropped"], self._served.dropped)
        yield from (loads, answers)
        if self._generations.ready:
            seconds = self._generations.current().as_of / MICROS_PER_SECOND
            yield GaugeMetricFamily(
                "likelier_as_of_seconds", "The as_of of the run served, in Unix time.", seconds
            )
