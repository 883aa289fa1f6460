import numpy as np
import pytest

from jaxcascade.errors import RecordsError, UnknownModelError
from jaxcascade.records import Records, example_records, read_records


def test_a_long_table_is_pivoted_in_order_of_first_appearance(records):
    assert records.queries.tolist() == ["q1", "q2", "q3"]
    assert records.models == ("small", "large, 大")
    np.testing.assert_array_equal(records.asked, [[True, True], [True, True], [True, False]])
    np.testing.assert_array_equal(records.labelled, [[True, True], [True, True], [False, False]])
    np.testing.assert_allclose(
        records.confidence, [[0.5, 0.9], [0.25, 0.0], [1.0, np.nan]], rtol=1e-15
    )
    assert records.log_confidence[1, 1] == -np.inf
    assert records.group is not None
    assert records.group.tolist() == ["x", "y", None]
    assert records.extra["note"].tolist() == [["one", "four"], ["two", "five"], [None, None]]
    np.testing.assert_array_equal(records.extra["logit"], [[1.5, 4.5], [2.5, 5.5], [np.nan] * 2])


def test_summary_counts_what_is_missing(records):
    summary = records.summary()
    assert (summary.num_queries, summary.num_models) == (3, 2)
    assert summary.missing == {"small": 0, "large, 大": 1}
    assert summary.unlabelled == {"small": 1, "large, 大": 0}
    assert (summary.num_missing, summary.num_unlabelled) == (1, 1)
    assert summary.accuracy == {"small": 0.5, "large, 大": 0.5}
    assert summary.certain["small"] == pytest.approx(1 / 3)
    assert summary.mean_cost_usd == pytest.approx({"small": 0.2 / 3, "large, 大": 0.5})


def test_summary_of_a_model_without_labels_has_no_accuracy(records):
    bare = Records(
        records.queries,
        records.models,
        records.log_confidence,
        np.full((3, 2), np.nan),
        records.cost_usd,
    )
    assert all(np.isnan(value) for value in bare.summary().accuracy.values())


def test_take_repeats_queries_and_carries_everything(records):
    taken = records.take(np.array([2, 0, 0]))
    assert taken.queries.tolist() == ["q3", "q1", "q1"]
    assert taken.group is not None
    assert taken.group.tolist() == [None, "x", "x"]
    np.testing.assert_array_equal(taken.correct, records.correct[[2, 0, 0]])
    assert taken.extra["note"][1].tolist() == ["one", "four"]
    assert records.take(np.array([], dtype=int)).num_queries == 0


def test_select_orders_models(records):
    turned = records.select(("large, 大", "small"))
    assert turned.models == ("large, 大", "small")
    np.testing.assert_array_equal(turned.cost_usd, records.cost_usd[:, ::-1])
    np.testing.assert_array_equal(turned.extra["logit"], records.extra["logit"][:, ::-1])


def test_select_names_the_model_that_is_not_there(records):
    with pytest.raises(UnknownModelError, match=r'no model "Smal"; they have .* Did you mean "sma'):
        records.select(["Smal"])


def test_long_table_reads_back_the_same(records, same):
    assert same(read_records(records.to_frame()), records)
    example = example_records("train")
    assert same(read_records(example.to_frame()), example)


def test_long_table_has_plain_types(records):
    schema = {field.name: str(field.type) for field in records.to_frame().schema}
    assert schema["correct"] == "int8"
    assert schema["confidence"] == "double"
    assert schema["query"] == schema["group"] == "string"
    example = example_records("train").to_frame()
    assert str(example.schema.field("input_tokens").type) == "int64"


def test_identities_that_no_file_knows_become_text(columns):
    columns["query"] = [(1, "a"), 2, 3, (1, "a"), 2]
    import pandas as pd

    records = read_records(pd.DataFrame(columns))
    assert records.queries.tolist() == [(1, "a"), 2, 3]
    assert records.to_frame()["query"].to_pylist()[:3] == ["(1, 'a')", "2", "3"]


def test_cells_must_have_one_shape(records):
    with pytest.raises(RecordsError, match=r"`extra` columns|`logit` must have one row per query"):
        Records(
            records.queries,
            records.models,
            records.log_confidence,
            records.correct,
            records.cost_usd,
            extra={"logit": np.zeros((2, 2))},
        )


def test_groups_and_models_fit_the_cells(records):
    def build(models, group):
        return Records(
            queries=records.queries,
            models=models,
            log_confidence=records.log_confidence,
            correct=records.correct,
            cost_usd=records.cost_usd,
            group=group,
        )

    with pytest.raises(RecordsError, match="`models` must be distinct"):
        build(("a", "a"), None)
    # The runtime checker of the tests may be first to see the wrong length.
    with pytest.raises(Exception, match="group"):
        build(("a", "b"), records.queries[:2])


def test_shows_itself_briefly(records):
    assert repr(records) == 'Records(3 queries, 2 models: "small", "large, 大")'
