"""The dashboard and the alert rules speak of metrics that the service has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dbstorage.metrics.figures import Figures, StreamFigures
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.operating.verdict import Standing, Verdict
from dbstorage.storage.outcome import ANSWERED, Outcome, Report, Retried, Status
from tests.deploy.checkers import ROOT, check
from tests.metrics.scraping import samples_of

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "alerts_test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dbstorage.json"

ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads(DASHBOARD.read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def samples() -> list[str]:
    """Every sample of a service that has seen everything."""
    metrics = ServiceMetrics()
    metrics.worker_started(node="worker@test", version="1", ordering="strict")
    metrics.batch_finished([("getCloseOrders", ANSWERED._replace(code="unavailable"))], Report([], []))
    for status in (Status.STORED, Status.FAILED):
        metrics.tasks_retried([Retried("createCloseOrder", "t", "", None, 2, Outcome(status))])
        metrics.call_finished("createCloseOrder", status)
    stream = StreamFigures(entries=1, lag=1, pending=1, oldest_pending_age=1, oldest_unread_age=1, trimmed_unread=1)
    failed = {("poison", "failed"): 1, ("user_not_found", "retrying"): 1}
    figures = Figures(
        redis_up=True,
        redis_full=False,
        database_up=True,
        stream=stream,
        verdict=Verdict(Standing.FINE, "fine"),
        sequences={("Orders", "id"): 0.5},
        failed_tasks=failed,
        failed_tasks_bytes=1,
    )
    metrics.figures_gathered(figures)
    # The server leaves those out that the client adds to every counter.
    return [sample for sample in samples_of(metrics.registry) if not sample.partition("{")[0].endswith("_created")]


def test_every_metric_that_is_asked_for_exists_with_these_label_values(samples: list[str]) -> None:
    for expression in EXPRESSIONS:
        selectors = re.findall(r"\b((?:dbstorage|process)_\w+)(?:\{([^}]*)\})?", expression)
        assert selectors, expression
        for name, labels in selectors:
            values = re.findall(r'\w+="[^"]*"', labels)
            assert [
                sample
                for sample in samples
                if re.split(r"\{", sample)[0] == name and all(pair in sample for pair in values)
            ], f"{name}{{{labels}}} in {expression}"


def test_every_metric_of_the_service_is_shown(samples: list[str]) -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    families = {re.sub(r"_(bucket|sum|count)$", "", sample.partition("{")[0]) for sample in samples}
    assert [name for name in sorted(families) if name.startswith("dbstorage_") and name not in shown] == []


def test_every_metric_is_described_for_operators(samples: list[str]) -> None:
    described = (ROOT / "docs" / "operations.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", sample.partition("{")[0]) for sample in samples}
    assert [name for name in sorted(families) if name.startswith("dbstorage_") and name not in described] == []
    mentioned = set(re.findall(r"\bdbstorage_\w+", described)) - {"dbstorage_service", "dbstorage_flower"}
    assert mentioned <= families


def test_the_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    rules: list[Any] = [
        {
            "record": f"panel:number{index}",
            "expr": expression.replace("$__rate_interval", "5m").replace("$instance", ".*"),
        }
        for index, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check("promtool", "check", "rules", file)


def test_the_alert_rules_fire_when_they_should_and_keep_quiet_otherwise() -> None:
    check("promtool", "check", "rules", RULES)
    check("promtool", "test", "rules", RULE_TESTS)


def test_every_alert_is_tested_both_ways() -> None:
    tests = [test for group in yaml.safe_load(RULE_TESTS.read_text())["tests"] for test in group["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {test["alertname"] for test in tests if test.get("exp_alerts")} == names
    assert {test["alertname"] for test in tests if not test.get("exp_alerts")} == names


def test_every_alert_says_what_it_means_and_how_bad_it_is() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
