import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

from jaxcascade.cascade import Policy
from jaxcascade.economics import monitor, segment_frontier
from jaxcascade.errors import FileFormatError
from jaxcascade.reports import write_report
from jaxcascade.reports.drift_page import drift_verdict
from jaxcascade.reports.segment_page import segment_verdict
from jaxcascade.tuning import evaluate, verdict
from jaxcascade.tuning.reference import confidence_reference

from .conftest import ODD_NAMES, make_frontier, make_model, make_records

ALWAYS = ["error-cost", "policy-map", "answer-shares", "saving", "reliability"]
OF_PAIRS = ["copula-scatters", "tau-matrix"]


def figure_names(text: str) -> list[str]:
    return re.findall(r'<figure id="([^"]+)">', text)


class Outline(HTMLParser):
    """Ids, and what the page would load; fails on a tag that is closed out of order."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.loaded += [v or "" for name, v in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def training_page(tmp_path_factory, frontier, records, model) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, frontier, records, model=model, title="<My> report")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_every_figure_of_a_fit_is_there(training_page):
    assert figure_names(training_page) == [*ALWAYS, "marginals", *OF_PAIRS]


def test_the_page_needs_nothing_else(training_page):
    outline = Outline(training_page)
    assert outline.open == []
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in outline.loaded)
    assert "<script" not in training_page
    assert "@import" not in training_page
    assert not re.findall(r"url\((?!#)", training_page)


def test_ids_are_unique(training_page):
    ids = Outline(training_page).ids
    assert len(ids) == len(set(ids))


def test_names_are_escaped(training_page):
    for name in ODD_NAMES:
        assert f'<td class="words">{escape(name)}</td>' in training_page
    assert "<b>" not in training_page
    assert "&lt;My&gt; report" in training_page


def test_errors_of_all_and_of_answered_queries_are_told_apart(tmp_path, training_page, records):
    both = ("Error in training, of all queries", "Error in training, of answered ones")
    for head in both:
        assert f"<th>{head}</th>" in training_page
    write_report(
        tmp_path / "r.html", make_frontier(ODD_NAMES, [Policy.single(ODD_NAMES[0])]), records
    )
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<th>Error in training</th>" in text
    assert not [head for head in both if head in text]


def test_the_verdict_stands_on_top(training_page, frontier):
    text = escape(verdict(frontier).text)
    assert training_page.index(text) < training_page.index("<table")


def test_the_same_report_twice_is_the_same_file(tmp_path, frontier, records, model, training_page):
    write_report(tmp_path / "a.html", frontier, records, model=model, title="<My> report")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == training_page


def test_report_of_an_evaluation(tmp_path, frontier, records):
    path = tmp_path / "report.html"
    write_report(path, frontier, records, evaluation=evaluate(frontier, records))
    text = path.read_text(encoding="utf-8")
    assert figure_names(text) == [*ALWAYS, *OF_PAIRS]
    assert "Error in test" in text


def test_an_evaluation_tells_of_drift_and_of_groups(tmp_path, frontier, records):
    frontier = frontier._replace(reference=confidence_reference(jax.random.key(0), records))
    count = records.num_queries
    records = replace(records, group=np.array(["law", "<tax>"])[np.arange(count) % 2])
    path = tmp_path / "report.html"
    write_report(path, frontier, records, evaluation=evaluate(frontier, records))
    text = path.read_text(encoding="utf-8")
    assert figure_names(text)[-3:] == ["drift", "sharing-by-price", "sharing"]
    assert escape(drift_verdict(monitor(jax.random.key(0), frontier, records))[0]) in text
    assert segment_verdict(segment_frontier(jax.random.key(0), frontier, records)) in text
    assert '<td class="words">&lt;tax&gt;</td>' in text
    ids = Outline(text).ids
    assert len(ids) == len(set(ids))

    few = records.take(np.arange(3))
    write_report(path, frontier, few, evaluation=evaluate(frontier, few))
    text = path.read_text(encoding="utf-8")
    assert "Cross-validation in 5 parts needs as many comparable queries; there are 3." in text
    assert figure_names(text)[-1] == "drift"


def test_records_with_holes(tmp_path):
    """No latency, a model never asked, one without labels, one with constant confidence."""
    models = ("one", "two", "three", "four")
    policies = [Policy.single("one"), Policy.threshold_cascade(["one", "four"], [0.5])]
    frontier = make_frontier(models, policies)._replace(held_out=None)
    records = make_records(models, latency=False)
    log_confidence, correct = records.log_confidence.copy(), records.correct.copy()
    log_confidence[:, 1] = correct[:, 1] = np.nan
    log_confidence[5:9, 0] = correct[5:9, 0] = np.nan
    log_confidence[:, 2], correct[:, 2] = np.log(0.8), np.nan
    log_confidence[0, 3] = -np.inf
    records = replace(records, log_confidence=log_confidence, correct=correct)
    path = tmp_path / "report.html"
    write_report(path, frontier, records, model=make_model(models))
    text = path.read_text(encoding="utf-8")
    assert figure_names(text) == [*ALWAYS, "marginals", *OF_PAIRS]
    assert text.count("<th>Latency</th>") == 1, "of policies, whose counts have seconds"
    assert "no labels" in text
    assert "too few queries to hold any out" in text


@pytest.mark.parametrize("count", [1, 2, 14])
def test_pools_of_any_size(tmp_path, count):
    models = tuple(f"model number {j} with quite a long name" for j in range(count))
    policies = [Policy.single(models[0])] if count == 1 else None
    frontier, records = make_frontier(models, policies), make_records(models)
    path = tmp_path / "report.html"
    write_report(path, frontier, records, model=make_model(models))
    expected = [*ALWAYS, "marginals", *(OF_PAIRS if count > 1 else [])]
    assert figure_names(path.read_text(encoding="utf-8")) == expected


def test_costs_of_zero(tmp_path):
    models = ("free", "paid")
    records = make_records(models)
    records = replace(records, cost_usd=records.cost_usd * [0, 1])
    write_report(tmp_path / "report.html", make_frontier(models), records)


def test_nothing_is_left_where_drawing_fails(tmp_path, monkeypatch, frontier, records):
    path = tmp_path / "report.html"
    path.write_text("the last report")

    def fails(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("jaxcascade.reports.figures.tau_matrix", fails)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report(path, frontier, records)
    assert path.read_text() == "the last report"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_must_exist(tmp_path, frontier, records):
    with pytest.raises(FileFormatError, match="no folder"):
        write_report(tmp_path / "nowhere" / "report.html", frontier, records)
