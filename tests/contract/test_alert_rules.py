"""The alert rules and dashboards: promtool accepts and tries them, each alert is tried both ways and explained, and
what they read exists. What they say of a running platform: tests/e2e/test_monitoring.py."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import documents
from tests.support.monitoring import (
    MONITORING,
    OF_PROMETHEUS,
    alerts,
    dashboards,
    documented_metrics,
    metric_names,
    panels,
    recorded,
    rule_file,
    rules,
    shortened,
    write_rule_file,
)
from tests.support.prometheus import PrometheusMissing, binaries
from tools.k8s_check.rendering import DEPLOY

RUNBOOK = DEPLOY.parents[1] / "docs" / "runbook" / "alerts.md"
CASES = sorted((MONITORING / "tests").glob("*.yaml"))
PROMTOOL_SECONDS = 300
CHINESE = re.compile("[\u4e00-\u9fff]")
PLAIN_PANELS = {"row", "stat", "table", "timeseries"}


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(binaries().promtool), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PROMTOOL_SECONDS, check=False)


def tried(files: Iterable[Path]) -> tuple[set[str], set[str]]:
    """Alerts that a case of promtool sees fire, and those that one sees silent."""
    fires: set[str] = set()
    silent: set[str] = set()
    for file in files:
        for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for one in case["promql_expr_test"]:
                for name in re.findall(r'alertname=~?"([\w|]+)"', one["expr"]):
                    (fires if one["exp_samples"] else silent).update(name.split("|"))
    return fires, silent


def sections(text: str) -> list[str]:
    return re.findall(r"^## (\w+)$", text, re.MULTILINE)


def unknown_metrics(expressions: Iterable[str]) -> set[str]:
    known = documented_metrics() | recorded() | OF_PROMETHEUS
    return {name for expression in expressions for name in metric_names(expression)} - known


def overlapping(panels_of: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Ids of panels that lie on one another."""

    def apart(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
        return (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )

    pairs = itertools.combinations(panels_of, 2)
    return [(one["id"], other["id"]) for one, other in pairs if not apart(one["gridPos"], other["gridPos"])]


# Prometheus


def test_where_there_is_no_prometheus_and_none_can_be_had_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusMissing, match="apt-get install prometheus"):
        binaries(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


# Rules


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    write_rule_file(tmp_path / "rules.yaml")
    checked = promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(list(rules()))} rules found" in checked.stdout


@pytest.mark.parametrize("case", CASES, ids=[file.stem for file in CASES])
def test_each_alert_fires_stays_silent_and_ends_as_its_cases_say(case: Path, tmp_path: Path) -> None:
    # Else promtool takes the groups in a random order, and alerts may read what was recorded a step before.
    said = yaml.safe_load(case.read_text(encoding="utf-8"))
    assert said["group_eval_order"] == [group["name"] for group in rule_file()["groups"]]
    write_rule_file(tmp_path / "rules.yaml")
    shutil.copy(case, tmp_path)
    tested = promtool("test", "rules", case.name, folder=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(("right", "wrong"), [("> 0.5 * sum(", "> 5 * sum("), ("for: 10m", "for: 50m")])
def test_a_rule_that_says_something_else_fails_its_cases(right: str, wrong: str, tmp_path: Path) -> None:
    write_rule_file(tmp_path / "rules.yaml")
    text = (tmp_path / "rules.yaml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "rules.yaml").write_text(text.replace(right, wrong), encoding="utf-8")
    shutil.copy(MONITORING / "tests" / "platform.yaml", tmp_path)
    assert promtool("test", "rules", "platform.yaml", folder=tmp_path).returncode != 0


def test_every_alert_is_seen_firing_and_silent() -> None:
    fires, silent = tried(CASES)
    assert set(alerts()) == fires
    assert set(alerts()) == silent


def test_an_alert_without_a_case_is_found(tmp_path: Path) -> None:
    case = {"expr": 'ALERTS{alertname="Tried"}', "exp_samples": [{"labels": "ALERTS", "value": 1}]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"tests": [{"promql_expr_test": [case]}]}), encoding="utf-8")
    assert tried([tmp_path / "case.yaml"]) == ({"Tried"}, set())


def test_every_alert_says_what_to_do_in_english_and_chinese_and_where_to_read_on() -> None:
    for name, alert in alerts().items():
        said = alert["annotations"]
        assert set(said) == {"summary", "summary_zh", "description", "description_zh", "runbook_url"}, name
        for english in ("summary", "description"):
            assert not CHINESE.search(said[english]), name
            assert CHINESE.search(said[f"{english}_zh"]), name
            # A number or label that one language shows, the other shows too.
            shown = sorted(re.findall(r"\{\{.*?\}\}", said[english]))
            assert sorted(re.findall(r"\{\{.*?\}\}", said[f"{english}_zh"])) == shown, name
        assert said["runbook_url"] == f"docs/runbook/alerts.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("page", "ticket"), name


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    assert sorted(sections(text)) == sorted(alerts())
    for name, section in zip(sections(text), re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:], strict=True):
        assert section.startswith(f"\n{alerts()[name]['labels']['severity']} · "), name
        assert "\n- Look at: " in section, name
        assert "\n- Do: " in section, name


# Metrics


def test_rules_and_dashboards_read_metrics_that_exist() -> None:
    assert unknown_metrics(rule["expr"] for rule in rules()) == set()
    assert unknown_metrics(expression for panel in panels() for expression in panel.expressions) == set()


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("sum(rate(tcp_ingress_answer_total[5m]))", {"tcp_ingress_answer_total"}),
        ('sum by (job) (up{job="tcp_ingress_x"}) == 0 or attendance_writer_lag', {"attendance_writer_lag"}),
        ("rate(tcp_ingress_answer_seconds_buckets[1h] offset 1d)", {"tcp_ingress_answer_seconds_buckets"}),
        ("site_access:attendance_freshness > 14.4 * 0.001", {"site_access:attendance_freshness"}),
    ],
)
def test_a_misspelt_metric_is_found(expression: str, unknown: set[str]) -> None:
    assert unknown_metrics([expression]) == unknown


def test_what_a_rule_reads_of_itself_is_recorded_by_one_rule_only() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert len(names) == len(set(names))
    read = {name for rule in rules() for name in metric_names(rule["expr"])}
    shown = {name for panel in panels() for each in panel.expressions for name in metric_names(each)}
    assert set(names) <= read | shown, "recorded and never read"


# Dashboards


def test_the_component_brings_the_rules_and_every_dashboard_to_grafana() -> None:
    (component,) = documents(MONITORING / "kustomization.yaml")
    assert "rules.yaml" in component["resources"]
    brought = component["configMapGenerator"]
    assert [file for each in brought for file in each["files"]] == [
        f"dashboards/{name}.json" for name in ("fleet", "sign-in", "writer", "tasks", "slo")
    ]
    assert sorted(dashboards()) == sorted(Path(each["files"][0]).stem for each in brought)
    for each in brought:
        assert each["options"]["labels"]["grafana_dashboard"] == "1"
        assert "grafana_folder" in each["options"]["annotations"]


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_dashboard_is_plain_and_takes_its_data_source_by_variable(name: str) -> None:
    dashboard = dashboards()[name]
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert dashboard["uid"] == f"site-access-{name}"
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    assert "datasource" in variables
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert overlapping(dashboard["panels"]) == []
    for panel in dashboard["panels"]:
        assert panel["type"] in PLAIN_PANELS, panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == source, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == source, panel["title"]
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables, panel["title"]


def test_latencies_of_requests_show_exemplars() -> None:
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                of_requests = re.search(
                    r"tcp_ingress_answer_seconds_bucket|http_server_request_\w+_bucket", target["expr"]
                )
                if "histogram_quantile" in target["expr"] and of_requests:
                    assert target["exemplar"] is True, f"{name}: {panel['title']}"


def test_panels_that_lie_on_one_another_are_found() -> None:
    def at(number: int, x: int) -> dict[str, Any]:
        return {"id": number, "gridPos": {"x": x, "y": 0, "w": 8, "h": 4}}

    assert overlapping([at(1, 0), at(2, 8), at(3, 12)]) == [(2, 3)]


# What the test on a running platform makes of the rules


def test_shortening_divides_windows_offsets_waits_and_written_times_and_nothing_else() -> None:
    rule = {"alert": "A", "expr": 'rate(x{le="60"}[5m] offset 1h) > 14.4 * 0.001 or y > 15 * 60', "for": "1h"}
    (short,) = shortened({"groups": [{"name": "g", "interval": "30s", "rules": [rule]}]}, 60, 30)["groups"]
    assert short == {
        "name": "g",
        "rules": [
            {
                "alert": "A",
                "expr": 'rate(x{le="60"}[5000ms] offset 60000ms) > 14.4 * 0.001 or y > 15 * 2',
                "for": "60000ms",
            }
        ],
    }
    assert len(shortened(rule_file(), 60, 30)["groups"]) == len(rule_file()["groups"])
