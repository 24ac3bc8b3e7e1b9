"""Ratios, percentiles, tables, targets and the page: what is made of figures."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Cell, Results, histogram, percentiles, ratios, spread
from benchmarks.machine import processor
from benchmarks.micro import instructions
from benchmarks.plan import QUICK
from benchmarks.report import Run, load, markdown, new_run, put_into_page, table, workload_table
from benchmarks.targets import TARGETS, Target, quick_choice, verdicts
from benchmarks.workloads import WORKLOADS

from benchmarks import figures, report
from benchmarks import servers as rows


def cell(*costs: float, error: str = "") -> Cell:
    return Cell([{"cpu_us": cost} for cost in costs], error)


def run_with(results: Results) -> Run:
    machine = {
        "processor": "",
        "architecture": "x",
        "cores": 2,
        "system": "Linux 1",
        "python": "CPython 3",
        "time": "t",
    }
    found = new_run(machine, {"granian": "2.0", "bjoern": None}, "abc", QUICK, 7)
    found.results = results
    return found


def test_ratios_are_taken_round_by_round() -> None:
    cells = {"ours": cell(10, 20, 40), "other": cell(25, 40, 20), "third": cell(20, 60, 60)}
    assert ratios(cells, "cpu_us", ["other"], "ours") == [2.5, 2.0, 0.5]
    assert ratios(cells, "cpu_us", ["other", "third"], "ours") == [2.0, 2.0, 0.5]
    assert ratios(cells, "cpu_us", ["nobody"], "ours") == []
    assert ratios(cells, "cpu_us", ["other"], "nobody") == []
    assert ratios(cells, "kib", ["other"], "ours") == []


def test_a_failed_server_has_no_ratio() -> None:
    cells = {"ours": cell(10, 20), "broken": cell(1, error="gone"), "other": cell(20, 20)}
    assert ratios(cells, "cpu_us", ["broken"], "ours") == []
    assert ratios(cells, "cpu_us", ["broken", "other"], "ours") == [2.0, 1.0]
    assert ratios(cells, "cpu_us", ["other"], "broken") == []


def test_more_is_better_for_some_figures() -> None:
    cells = {"ours": Cell([{"requests_s": 10.0}]), "a": Cell([{"requests_s": 20.0}]), "b": Cell([{"requests_s": 30.0}])}
    assert ratios(cells, "requests_s", ["a", "b"], "ours") == [3.0]


def test_a_figure_with_its_spread() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert spread([12345.6], 0) == "12,346"


def test_the_histogram_gives_percentiles_to_three_digits() -> None:
    values = [number / 1000 for number in range(1, 1001)]  # 1 ms to 1 s
    random.Random(1).shuffle(values)
    found = histogram(values)
    assert found.get_total_count() == 1000
    assert percentiles(values) == pytest.approx({"p50_ms": 500, "p99_ms": 990, "p999_ms": 999}, rel=0.002)
    assert percentiles([]) == {}


def test_values_outside_of_the_histogram_count_at_its_ends() -> None:
    assert percentiles([0.0])["p50_ms"] == 0.001
    assert percentiles([1e6])["p50_ms"] == pytest.approx(figures.LONGEST_US / 1000, rel=0.002)


def test_without_the_package_sorted_values_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "has_histogram", lambda: False)
    values = [number / 1000 for number in range(1, 1001)]
    assert percentiles(values) == pytest.approx({"p50_ms": 500, "p99_ms": 990, "p999_ms": 999}, rel=0.003)


def test_a_table() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_a_workload_s_table_is_sorted_and_names_what_closes() -> None:
    cells = {"granian-wsgi": cell(30.0), "gunicorn-sync": cell(90), "bridgeserve-threads": cell(20), "floor": cell(10)}
    lines = workload_table("hello", cells).splitlines()
    assert lines[0] == "| server | CPU µs per request | times the floor |"
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "floor",
        "**bridgeserve-threads**",
        "granian-wsgi",
        "gunicorn-sync (a connection per request)",
    ]
    assert lines[3].endswith("| 20.0 | 2.00 (at most 3.3) |")
    assert workload_table("hello", cells, "wrk").splitlines()[3].endswith("| 20.0 | 2.00 |")


def test_a_report_names_what_failed() -> None:
    said = "did not start, exit 1\nTraceback\nImportError: no | libev"
    text = markdown(run_with({"hello": {"bjoern": cell(error=said), "granian-asgi": cell(30)}}), "charts")
    assert "Not measured:\n\n- bjoern: did not start, exit 1 (ImportError: no \\| libev)" in text
    assert "Not installed: bjoern." in text
    assert "![hello](charts/hello.svg)" in text
    assert "| granian-asgi | 30.0 |" in text


def test_verdicts() -> None:
    results = {"hello": {"bridgeserve-asgi": cell(10, 10, 10), "granian-asgi": cell(12, 9, 15)}}
    reached = Target("bridgeserve-asgi", ("granian-asgi",), "hello", "cpu_us", 1.2)
    missed = Target("bridgeserve-asgi", ("granian-asgi",), "hello", "cpu_us", 1.3)
    absent = Target("bridgeserve-asgi", ("hypercorn",), "hello", "cpu_us", 1.0)
    assert [found.text for found in verdicts(results, (reached, missed, absent))] == [
        "reached",
        "**missed**",
        "not measured",
    ]


def test_every_target_names_what_there_is() -> None:
    for target in TARGETS:
        assert target.workload in WORKLOADS
        assert target.figure in figures.FIGURES
        for name in (target.ours, *target.peers):
            assert rows.SERVERS[name].interface in WORKLOADS[target.workload].apps
    choice = quick_choice()
    assert choice["hello"][0] == "floor"
    assert set(choice["connections"]) == {"bridgeserve-asgi", "uvicorn-httptools", "granian-asgi", "hypercorn"}


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    results = {"hello": {"granian-asgi": cell(30.0, 31.0)}, "cpu": {"granian-asgi": cell(error="gone")}}
    first.write_text(json.dumps(run_with(results).data()))
    second.write_text(json.dumps(run_with({"hello": {"granian-asgi": cell(5.0)}}).data()))
    assert load([first]).results == results
    merged = load([first, second])
    assert merged.results == {**results, "hello": {"granian-asgi": cell(5.0)}}
    assert markdown(load([first])) == markdown(run_with(results))
    second.write_text("{}")
    with pytest.raises(BenchmarkError, match="holds no run"):
        load([second])


def test_the_figures_of_a_page_are_replaced_and_the_rest_stays() -> None:
    page = "# A\n\n<!-- figures -->\nold\n<!-- /figures -->\n\nend\n"
    assert put_into_page(page, "new \\1\n") == "# A\n\n<!-- figures -->\n\nnew \\1\n\n<!-- /figures -->\n\nend\n"
    with pytest.raises(BenchmarkError, match="has to hold"):
        put_into_page("# A\n", "new")


def test_the_page_of_the_figures_has_its_marks() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert put_into_page(page, "x") != page


def test_the_name_of_the_processor() -> None:
    assert processor("processor : 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name : again\n") == "Some CPU @ 2 GHz"
    assert processor("Features : fp asimd\n") == ""


def test_the_count_of_callgrind() -> None:
    text = "==12== Callgrind\n==12== \n==12== Events    : Ir\n==12== Collected : 1234567\n==12== I refs: 1,234,567\n"
    assert instructions.parse(text) == 1234567
    assert instructions.per_turn(1000, 5000, (10, 20)) == 400.0
    with pytest.raises(BenchmarkError, match="no count"):
        instructions.parse("==12== killed")


def test_the_same_figures_give_the_same_charts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.charts import draw

    latency = Cell([{"cpu_us": 20.0, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0}])
    results = {"hello": {"granian-asgi": cell(30.0, 31.0, 35.0), "bridgeserve-asgi": latency}, "cpu": {}}
    written = draw(results, tmp_path / "1")
    assert [path.name for path in written] == ["hello.svg", "hello-latency.svg"]
    again = draw(results, tmp_path / "2")
    assert [path.read_text() for path in written] == [path.read_text() for path in again]
    assert "CPU µs per request, less is better" in written[0].read_text()


def test_every_kind_of_load_has_its_first_figure() -> None:
    assert {report.primary(workload) for workload in WORKLOADS} <= set(figures.FIGURES)
