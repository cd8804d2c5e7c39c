"""The command line of the benchmark, and its table."""

import pytest

from tests.bench.__main__ import chosen_names
from tests.bench.generator_process import Load
from tests.bench.results import Row, compare_tracing, median_ratio, median_row, table
from tests.bench.scenarios import SCENARIOS

MILLISECONDS = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "p99.9": 4.0, "max": 5.0}


def row(microseconds: float, echo: float | None = None, process: str = "tcp-ingress") -> Row:
    """A run of 1,000 operations in two seconds."""
    load = Load(1_000, 0, 0, 2.0, 0.01, MILLISECONDS, [b"an answer"])
    cpu = {"tcp-ingress": 1.0, "kafka": 7.5, process: microseconds}
    return Row("heartbeat", load, cpu, 80.0, process=process, echo_microseconds=echo)


def test_the_growth_rows_are_measured_only_where_they_are_asked_for() -> None:
    assert not [name for name in chosen_names(None) if name.startswith("growth")]
    assert chosen_names(["growth-*"]) == [name for name in SCENARIOS if name.startswith("growth")]


def test_patterns_and_names_choose_in_the_order_of_the_list() -> None:
    assert chosen_names(["two-sign-in-16", "heartbeat-1?", "heartbeat-16"]) == ["heartbeat-16", "two-sign-in-16"]


def test_a_pattern_that_names_nothing_is_refused() -> None:
    with pytest.raises(SystemExit, match="hartbeat names none"):
        chosen_names(["heartbeat-1", "hartbeat"])


def test_two_ingresses_and_each_share_of_tracing_are_measured_by_the_same_scenarios() -> None:
    for prefix in ("two", "tracing-0", "tracing-1", "tracing-100"):
        assert {f"{prefix}-{name}" for name in ("heartbeat-16", "sign-in-16", "sign-in-picture-4")} <= set(SCENARIOS)
    assert SCENARIOS["two-heartbeat-16"].setting.ingress_processes == 2
    assert [SCENARIOS[f"tracing-{percent}-sign-in-16"].setting.traced for percent in (0, 1, 100)] == [0.0, 0.01, 1.0]


def test_the_run_of_median_cpu_is_shown_and_the_median_of_each_runs_ratio() -> None:
    runs = [row(30.0, 10.0), row(50.0, 10.0), row(40.0, 5.0)]
    assert median_row(runs) is runs[2]
    assert median_ratio(runs) == 5.0


def test_the_table_shows_what_the_measured_process_and_the_load_cost() -> None:
    head, line = table({"get-tasks": row(1_050.0, 23.5, "task-api")}).splitlines()
    shown = line.split()
    assert shown[:2] == ["get-tasks", "heartbeat"]
    values = dict(zip(head.split(), shown[2:], strict=True))
    assert (values["ops/s"], values["CPU"], values["echo"], values["ratio"]) == ("500", "1050.0", "23.5", "44.7")
    assert (values["kafka"], values["load"], values["p99"], values["MB"]) == ("7.5", "10.0", "3.0", "80")


def test_a_row_without_an_echo_has_no_ratio() -> None:
    assert row(30.0).ratio is None
    _, line = table({"idle": row(30.0)}).splitlines()
    assert "None" not in line


def test_the_file_of_results_has_the_ratio_and_no_answers() -> None:
    written = row(30.0, 10.0).as_json()
    assert written["ratio"] == 3.0
    assert written["load"]["operations"] == 1_000
    assert "first_answers" not in written["load"]


@pytest.mark.parametrize(("operations", "refused", "unanswered"), [(0, 0, 0), (10, 1, 0), (9, 0, 1)])
def test_figures_of_requests_that_were_not_answered_with_success_are_none(
    operations: int, refused: int, unanswered: int
) -> None:
    with pytest.raises(SystemExit):
        Load(operations, refused, unanswered, 1.0, 0.0).check()


def test_what_tracing_costs_is_the_ratio_to_none_of_the_same_scenario() -> None:
    names = ("tracing-0-sign-in-16", "tracing-100-sign-in-16", "tracing-100-heartbeat-16", "sign-in-16")
    shown = {name: row(50.0) for name in names} | {"tracing-0-sign-in-16": row(20.0)}
    compare_tracing(shown)
    assert {name: one.more for name, one in shown.items() if one.more} == {
        "tracing-100-sign-in-16": {"ratioToUntraced": 2.5}
    }
