"""A registry that labels every sample with its service, so that one Prometheus can tell two services apart."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric

from dbstorage.settings import Scope


class ScopedRegistry(CollectorRegistry):
    """Adds the labels `stream` and `group` to every sample; without a scope, none."""

    def __init__(self, scope: Scope | None) -> None:
        super().__init__()
        self._labels = {} if scope is None else {"stream": scope.stream, "group": scope.group}

    def collect(self) -> Iterator[Metric]:
        """Return the metrics (called at each scrape)."""
        for metric in super().collect():
            scoped = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            scoped.samples = [sample._replace(labels={**sample.labels, **self._labels}) for sample in metric.samples]
            yield scoped
