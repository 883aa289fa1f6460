"""The table of recorded runs, one row per query and one column per model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Integer, Shaped

from jaxcascade.errors import RecordsError, UnknownModelError
from jaxcascade.records.wording import close_match, listing, quoted

TOKEN_COLUMNS = ("input_tokens", "output_tokens")


class RecordsSummary(NamedTuple):
    """Counts and means that describe a table of recorded runs.

    Attributes:
        num_queries: Number of queries.
        num_models: Number of models.
        num_missing: Cells (query, model) without a row.
        num_unlabelled: Cells with a row but without `correct`.
        missing: The same as `num_missing`, per model.
        unlabelled: The same as `num_unlabelled`, per model.
        accuracy: Share of right answers among the labelled ones, per model; NaN without labels.
        certain: Share of confidences that are exactly 1, per model.
        mean_cost_usd: Dollars per call, per model.
    """

    num_queries: int
    num_models: int
    num_missing: int
    num_unlabelled: int
    missing: dict[str, int]
    unlabelled: dict[str, int]
    accuracy: dict[str, float]
    certain: dict[str, float]
    mean_cost_usd: dict[str, float]


@dataclass(frozen=True, eq=False)
class Records:
    """Recorded runs of `k` models on `n` queries, on the host.

    A cell (query, model) without a row is NaN everywhere (None in columns of objects).

    Attributes:
        queries: Identity of each query, as it was given.
        models: Names of the models, in the order of first appearance.
        log_confidence: Natural logarithm of the raw confidence, in [-inf, 0].
        correct: 1 for a right answer, 0 for a wrong one, NaN where not labelled.
        cost_usd: Dollars for the call.
        latency_s: Seconds for the call, or None where the table has none.
        group: Group of each query, or None where the table has none.
        extra: Every other column, pivoted: numbers as float64, the rest as objects.

    Examples:
        >>> import pandas as pd
        >>> from jaxcascade.records import read_records
        >>> records = read_records(pd.DataFrame({
        ...     "query": [1, 1, 2], "model": ["small", "large", "small"],
        ...     "confidence": [0.5, 0.9, 1.0], "correct": [0, 1, 1], "cost_usd": [0.1, 0.5, 0.1]}))
        >>> records
        Records(2 queries, 2 models: "small", "large")
        >>> records.asked
        array([[ True,  True],
               [ True, False]])
    """

    queries: Shaped[np.ndarray, " n"]
    models: tuple[str, ...]
    log_confidence: Float[np.ndarray, "n k"]
    correct: Float[np.ndarray, "n k"]
    cost_usd: Float[np.ndarray, "n k"]
    latency_s: Float[np.ndarray, "n k"] | None = None
    group: Shaped[np.ndarray, " n"] | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        shape = (len(self.queries), len(self.models))
        for name, cells in self._cells().items():
            if cells.shape != shape:
                raise RecordsError(
                    f"`{name}` must have one row per query and one column per model, "
                    f"{shape}; it has the shape {cells.shape}."
                )
        if self.group is not None and len(self.group) != len(self.queries):
            raise RecordsError(
                f"`group` must have one value per query, {len(self.queries)}; "
                f"it has {len(self.group)}."
            )
        if len(set(self.models)) != len(self.models):
            raise RecordsError(f"`models` must be distinct; got {listing(self.models)}.")

    def __repr__(self) -> str:
        return (
            f"Records({self.num_queries} queries, {self.num_models} models: {listing(self.models)})"
        )

    @property
    def num_queries(self) -> int:
        """Number of queries."""
        return len(self.queries)

    @property
    def num_models(self) -> int:
        """Number of models."""
        return len(self.models)

    @property
    def confidence(self) -> Float[np.ndarray, "n k"]:
        """Raw confidence in [0, 1]; what lies within 1e-16 of 1 is 1 here."""
        return np.exp(self.log_confidence)

    @property
    def asked(self) -> Bool[np.ndarray, "n k"]:
        """Whether the model was asked, so that the cell has a row."""
        return ~np.isnan(self.log_confidence)

    @property
    def labelled(self) -> Bool[np.ndarray, "n k"]:
        """Whether it is known that the answer was right or wrong."""
        return ~np.isnan(self.correct)

    def model_index(self, model: str) -> int:
        """Column of a model.

        Raises:
            UnknownModelError: The records have no such model.
        """
        if model not in self.models:
            match = close_match(model, self.models)
            hint = f" Did you mean {quoted(match)}?" if match else ""
            raise UnknownModelError(
                f"The records have no model {quoted(model)}; they have "
                f"{listing(self.models)}.{hint}"
            )
        return self.models.index(model)

    def take(self, indices: Integer[np.ndarray, " t"]) -> "Records":
        """Picks queries by position; a position may stand there twice, as in a bootstrap.

        Args:
            indices: Positions of queries, from 0.

        Returns:
            Records of those queries, in that order.
        """
        return Records(
            queries=self.queries[indices],
            models=self.models,
            group=None if self.group is None else self.group[indices],
            **self._picked(lambda cells: cells[indices]),
        )

    def select(self, models: Sequence[str]) -> "Records":
        """Picks and orders models by name; every query stays, even where no cell is left.

        Args:
            models: Names, each once, in the order wanted.

        Returns:
            Records with those models only.

        Raises:
            UnknownModelError: The records lack one of them.
        """
        columns = [self.model_index(model) for model in models]
        return Records(
            queries=self.queries,
            models=tuple(models),
            group=self.group,
            **self._picked(lambda cells: cells[:, columns]),
        )

    def to_frame(self) -> pa.Table:
        """Lays the records out as the long table they can be read from again.

        Rows run model by model, so the order of models survives; the order of queries does where
        the first model was asked every one. Of records made by a bootstrap, `query` repeats, and
        the table cannot be read as records.

        Returns:
            One row per cell, with the columns of the schema and the extra ones.
        """
        of_model, of_query = np.nonzero(self.asked.T)
        columns = {
            "query": _identities(self.queries[of_query]),
            "model": pa.array([self.models[j] for j in of_model], pa.string()),
            "confidence": pa.array(self.confidence[of_query, of_model]),
        }
        for name, cells in self._cells().items():
            columns[name] = _column(name, cells[of_query, of_model])
        if self.group is not None:
            columns["group"] = _identities(self.group[of_query])
        return pa.table(columns)

    def summary(self) -> RecordsSummary:
        """Counts missing and unlabelled cells and takes means, model by model."""
        missing = (~self.asked).sum(axis=0)
        unlabelled = (self.asked & ~self.labelled).sum(axis=0)
        return RecordsSummary(
            num_queries=self.num_queries,
            num_models=self.num_models,
            num_missing=int(missing.sum()),
            num_unlabelled=int(unlabelled.sum()),
            missing=dict(zip(self.models, missing.tolist(), strict=True)),
            unlabelled=dict(zip(self.models, unlabelled.tolist(), strict=True)),
            accuracy=self._means(self.correct),
            certain=self._means(np.where(self.asked, self.log_confidence == 0, np.nan)),
            mean_cost_usd=self._means(self.cost_usd),
        )

    def _means(self, cells: Float[np.ndarray, "n k"]) -> dict[str, float]:
        count = (~np.isnan(cells)).sum(axis=0)
        means = np.where(count > 0, np.nansum(cells, axis=0) / np.maximum(count, 1), np.nan)
        return dict(zip(self.models, means.tolist(), strict=True))

    def _cells(self) -> dict[str, np.ndarray]:
        """Everything that has one value per query and model."""
        cells = {name: getattr(self, name) for name in ("log_confidence", "correct", "cost_usd")}
        if self.latency_s is not None:
            cells["latency_s"] = self.latency_s
        return cells | self.extra

    def _picked(self, pick) -> dict:
        """The same with a piece picked out of each, as arguments of a new object."""
        cells = {name: pick(values) for name, values in self._cells().items()}
        extra = {name: cells.pop(name) for name in self.extra}
        return cells | {"extra": extra}


def _identities(values: Shaped[np.ndarray, " c"]) -> pa.Array:
    """Keeps text and whole numbers; anything else (tuples, mixtures) becomes text."""
    known = [value for value in values.tolist() if value is not None]
    plain = {type(value) for value in known}
    if plain == {int}:
        return pa.array(values.tolist())
    text = [None if value is None else str(value) for value in values.tolist()]
    return pa.array(text, pa.string())


def _column(name: str, values: Shaped[np.ndarray, " c"]) -> pa.Array:
    """One column of the long table: missing values are null, counts and labels whole numbers."""
    if values.dtype == object:
        return pa.array(values.tolist())
    column = pa.array(values, from_pandas=True)
    whole = name in TOKEN_COLUMNS and np.all(np.isnan(values) | (values == np.round(values)))
    if name == "correct":
        return column.cast(pa.int8())
    return column.cast(pa.int64()) if whole else column
