"""What the server counts, for Prometheus."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gemcut.reply import Finish
from gemcut.server.admission import Admission
from gemcut.server.models import Served

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
RATES = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)


class Metrics:
    """Counters and histograms of one server, in a registry of their own."""

    def __init__(self, admission: Admission, models: Sequence[Served]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(admission, models))
        of_route, of_model = ["route", "status"], ["model"]
        self._requests = self._counter("requests", "Requests answered.", of_route)
        self._request_s = self._histogram("request_seconds", "How long they took.", ["route"], SECONDS)
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts.", of_model)
        self._cached = self._counter(
            "cached_tokens", "Of these, those that were not computed anew.", of_model
        )
        self._made = self._counter("completion_tokens", "Tokens of replies.", of_model)
        self._replies = self._counter("replies", "Replies, by how they ended.", ["model", "reason"])
        self._first_s = self._histogram("first_token_seconds", "Until the first token.", of_model, SECONDS)
        self._rate = self._histogram("tokens_per_second", "Of one reply after its first.", of_model, RATES)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def reply(self, model: str, finish: Finish) -> None:
        """A reply ended."""
        self._prompt.labels(model).inc(finish.usage.prompt_tokens)
        self._cached.labels(model).inc(finish.usage.cached_tokens)
        self._made.labels(model).inc(finish.usage.completion_tokens)
        self._replies.labels(model, finish.reason).inc()
        self._first_s.labels(model).observe(finish.timing.first_token_s)
        if finish.timing.tokens_per_s:
            self._rate.labels(model).observe(finish.timing.tokens_per_s)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, labels: Sequence[str]) -> Counter:
        return Counter(f"gemcut_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(f"gemcut_{name}", what, labels, registry=self._registry, buckets=buckets)


class _State(Collector):
    """What is so at the moment that somebody asks."""

    def __init__(self, admission: Admission, models: Sequence[Served]) -> None:
        self._admission = admission
        self._models = models

    def collect(self) -> Iterable[Metric]:
        yield _gauge("requests_in_flight", "Requests at work.", self._admission.in_flight)
        yield _gauge("requests_waiting", "Requests that wait for a place.", self._admission.waiting)
        states = [(served.name, served.gemma.occupancy()) for served in self._models]
        families = (
            ("pages_used", "Pages of keys and values that requests hold.", "full", "full_pages_used"),
            ("pages_used", "", "sliding", "sliding_pages_used"),
            ("pages", "Pages of keys and values.", "full", "full_pages"),
            ("pages", "", "sliding", "sliding_pages"),
            ("sequences", "Sequences in the engine.", "running", "running"),
            ("sequences", "", "waiting", "waiting"),
        )
        gauges: dict[str, GaugeMetricFamily] = {}
        for name, what, kind, field in families:
            label = "state" if name == "sequences" else "layers"
            gauge = gauges.setdefault(
                name, GaugeMetricFamily(f"gemcut_{name}", what, labels=["model", label])
            )
            for model, state in states:
                gauge.add_metric([model, kind], getattr(state, field))
        yield from gauges.values()


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gemcut_{name}", what, value=value)
