"""What each way of answering did with the same queries: single models, policies, routers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from jaxcascade.cascade import (
    ACCEPT,
    Outcome,
    Policy,
    Prices,
    Replay,
    observations,
    replay,
    replayable,
    stack_policies,
)
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records import Records

_NOBODY = -1


@dataclass(frozen=True, eq=False)
class Ledger:
    """Outcomes of `s` systems on the same `n` queries, query by query, on the host.

    A system is whatever answers: a single model, a policy, a router. What cannot be known, because
    a run that the system needs was not recorded or its answer not labelled, is NaN throughout.

    Attributes:
        systems: Names, each once.
        models: Names of the models that can answer.
        queries: Identity of each query.
        wrong: 1 where an answer was accepted and wrong, else 0; an abstention is not wrong.
        abstained: 1 where the query was given up.
        cost_usd: Dollars for all calls of the query.
        latency_s: Seconds for all calls; NaN where they were not recorded.
        answered_by: Position of the model whose answer was accepted, -1 for none.
        metrics: Further columns, see `single_ledger`.
        group: Group of each query, or None.

    Example:
        >>> from jaxcascade.cascade import Prices
        >>> from jaxcascade.economics import single_ledger
        >>> from jaxcascade.records import example_records
        >>> records = example_records("test").select(["llama3.2-1b", "llama3.1-405b"])
        >>> ledger = single_ledger(records)
        >>> ledger.losses(Prices(error=0.001)).mean(axis=1).round(6)
        array([0.000591, 0.000739])
    """

    systems: tuple[str, ...]
    models: tuple[str, ...]
    queries: Shaped[np.ndarray, " n"]
    wrong: Float[np.ndarray, "s n"]
    abstained: Float[np.ndarray, "s n"]
    cost_usd: Float[np.ndarray, "s n"]
    latency_s: Float[np.ndarray, "s n"]
    answered_by: Int[np.ndarray, "s n"]
    metrics: dict[str, Float[np.ndarray, "s n"]] = field(default_factory=dict)
    group: Shaped[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        if len(set(self.systems)) != len(self.systems):
            raise InvalidInputError(f"`systems` must be distinct; got {', '.join(self.systems)}.")

    @property
    def known(self) -> Bool[np.ndarray, " n"]:
        """Queries of which the outcome under every system is known: those that can be compared."""
        return np.all(~np.isnan(self.wrong), axis=0)

    @property
    def has_latency(self) -> bool:
        """Whether the seconds of every comparable query were recorded, under every system."""
        return not np.isnan(self.latency_s[:, self.known]).any()

    def position(self, system: str) -> int:
        """Row of a system.

        Raises:
            InvalidInputError: There is none of that name.
        """
        if system not in self.systems:
            raise InvalidInputError(
                f'There is no system "{system}"; there are '
                + ", ".join(f'"{name}"' for name in self.systems)
                + "."
            )
        return self.systems.index(system)

    def select(self, systems: Sequence[str]) -> "Ledger":
        """Picks and orders systems by name."""
        rows = [self.position(name) for name in systems]
        return self._mapped(lambda cells: cells[rows], systems=tuple(systems))

    def take(self, indices: Int[np.ndarray, " t"] | Bool[np.ndarray, " n"]) -> "Ledger":
        """Picks queries by position or by a mask."""
        group = None if self.group is None else self.group[indices]
        return self._mapped(
            lambda cells: cells[:, indices], queries=self.queries[indices], group=group
        )

    def join(self, *others: "Ledger") -> "Ledger":
        """Sets the systems of other ledgers of the same queries and models beside these.

        Raises:
            InvalidInputError: They are of other queries, models or metrics.
        """
        for other in others:
            for name in ("queries", "models"):
                if not np.array_equal(getattr(self, name), getattr(other, name)):
                    raise InvalidInputError(
                        f"Ledgers that are joined must be of the same {name}, in one order; build "
                        "them from the same records."
                    )
            if other.metrics.keys() != self.metrics.keys():
                raise InvalidInputError(
                    "Ledgers that are joined must have the same metrics; got "
                    f"{sorted(self.metrics)} and {sorted(other.metrics)}."
                )
        together = [self, *others]
        return replace(
            self,
            systems=tuple(name for ledger in together for name in ledger.systems),
            metrics={
                name: np.concatenate([ledger.metrics[name] for ledger in together])
                for name in self.metrics
            },
            **{
                name: np.concatenate([getattr(ledger, name) for ledger in together])
                for name in _CELLS
            },
        )

    def charged(self, prices: Mapping[str, float]) -> "Ledger":
        """Adds metrics to the dollars of each query, at so many dollars per unit.

        Args:
            prices: Dollars per unit, by name of a metric; negative for what is welcome.

        Raises:
            InvalidInputError: A metric is not in the ledger, or its price not finite.
        """
        for name, price in prices.items():
            if name not in self.metrics:
                raise InvalidInputError(
                    f'The ledger has no metric "{name}"; it has {sorted(self.metrics)}. Name it '
                    "in `metrics` when the ledger is made."
                )
            if not np.isfinite(price):
                raise InvalidInputError(f'The price of "{name}" must be finite; got {price}.')
        extra = sum((price * self.metrics[name] for name, price in prices.items()), start=0.0)
        return replace(self, cost_usd=self.cost_usd + extra)

    def losses(self, prices: Prices) -> Float[np.ndarray, "s n"]:
        """Returns dollars lost on each query at one set of prices; NaN where not known.

        The reward of the economic papers is its negative (arXiv:2507.03834, eq. 4).

        Raises:
            InvalidInputError: Seconds are priced but were not recorded.
        """
        if prices.latency > 0 and not self.has_latency:
            raise InvalidInputError(
                "`prices.latency` needs the seconds of every call, but `latency_s` is missing from "
                "the records or from some of their rows. Record it, or leave the price at 0."
            )
        given_up = np.where(self.abstained > 0, prices.abstention, 0.0)
        seconds = prices.latency * self.latency_s if prices.latency > 0 else 0.0
        return self.cost_usd + prices.error * self.wrong + seconds + given_up

    def outcomes(self, weight: Float[np.ndarray, "*batch n"] | None = None) -> Outcome:
        """Averages each system's outcome over the comparable queries.

        Args:
            weight: Weight of each query, at least 0; one of 0 where a query is not comparable.
                Equal weights by default.

        Returns:
            Leading axes (*batch, s).
        """
        share = self.known.astype(float) if weight is None else np.where(self.known, weight, 0.0)
        total = share.sum(axis=-1, keepdims=True)
        if not np.all(total > 0):
            raise RecordsError(
                "No query can be compared: for each one some system lacks a labelled run of a "
                "model that it asks. Record them, or compare fewer systems."
            )
        share = share / total

        def mean(cells: Float[np.ndarray, "s n"]) -> Float[np.ndarray, "*batch s"]:
            return share @ np.where(self.known, cells, 0.0).T

        answered = np.arange(len(self.models)) == self.answered_by[..., None]
        by_model = np.einsum("...n,snk->...sk", share, answered.astype(float))
        return Outcome(
            mean(self.wrong),
            mean(self.abstained),
            mean(self.cost_usd),
            mean(self.latency_s),
            by_model,
        )

    def _mapped(self, pick, **others) -> "Ledger":
        cells = {name: pick(getattr(self, name)) for name in _CELLS}
        metrics = {name: pick(values) for name, values in self.metrics.items()}
        return replace(self, **cells, metrics=metrics, **others)


_CELLS = tuple(
    cells.name
    for cells in fields(Ledger)
    if cells.name not in ("systems", "models", "queries", "metrics", "group")
)


def single_ledger(records: Records, *, metrics: Mapping[str, str] | None = None) -> Ledger:
    """Makes the ledger of each model on its own.

    Args:
        records: Labelled runs.
        metrics: Further columns of the records to be priced, by name: "calls" adds them up over
            all calls of a query, as its cost, "answer" takes that of the accepted answer.

    Raises:
        InvalidInputError: The records lack the column, or it does not hold numbers.
    """
    everyone = {name: Policy.single(name) for name in records.models}
    confidence = np.where(records.asked, 0.5, np.nan)
    return policy_ledger(records, confidence, everyone, metrics=metrics)


def policy_ledger(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    systems: Mapping[str, Policy],
    *,
    metrics: Mapping[str, str] | None = None,
) -> Ledger:
    """Makes the ledger of policies, replayed on the records.

    Args:
        records: Labelled runs.
        confidence: Calibrated confidence of each cell, NaN where there is none; as given by
            `Frontier.calibrate` for `Frontier.arrange(records)`, or by `CascadeModel.calibrate`.
        systems: Policies by name. The order of the records' models does not matter to them.
        metrics: See `single_ledger`.

    Raises:
        PolicyError: A policy asks a model that the records lack.
        InvalidInputError: See `single_ledger`.
    """
    found = [_replayed(records, confidence, policy) for policy in systems.values()]
    ways = Replay(*jax.tree.map(lambda *rows: np.stack(rows), *found))
    accepted, known = np.asarray(ways.route.ended_by) == ACCEPT, np.asarray(replayable(ways))
    path = np.asarray(ways.route.path)
    asked = (path[..., None] == np.arange(records.num_models)).any(axis=2)
    answered_by = np.where(accepted & known, ways.route.last, _NOBODY)

    def where_known(cells: Array | np.ndarray) -> Float[np.ndarray, "s n"]:
        return np.where(known, np.asarray(cells), np.nan)

    return Ledger(
        tuple(systems),
        records.models,
        records.queries,
        wrong=where_known(accepted & (ways.correct == 0)),
        abstained=where_known(~accepted),
        cost_usd=where_known(ways.cost_usd),
        latency_s=where_known(ways.latency_s),
        answered_by=answered_by,
        metrics=_metrics(records, metrics or {}, asked, answered_by, known),
        group=records.group,
    )


def router_ledger(
    records: Records,
    chosen: Sequence[str],
    *,
    name: str = "router",
    overhead_usd: float = 0.0,
    overhead_s: float = 0.0,
    metrics: Mapping[str, str] | None = None,
) -> Ledger:
    """Makes the ledger of a router: one model per query, chosen before any is asked, for a fee.

    Args:
        records: Labelled runs.
        chosen: Name of the model that each query is sent to.
        name: Of the system.
        overhead_usd: Dollars that choosing costs per query.
        overhead_s: Seconds that choosing takes per query.
        metrics: See `single_ledger`.

    Raises:
        UnknownModelError: A query is sent to a model that the records lack.
        InvalidInputError: `chosen` does not have one name per query.
    """
    if len(chosen) != records.num_queries:
        raise InvalidInputError(
            f"`chosen` must name one model per query, {records.num_queries}; got {len(chosen)}."
        )
    at = np.array([records.model_index(model) for model in chosen])
    alone = single_ledger(records, metrics=metrics)
    picked = alone._mapped(
        lambda cells: cells[at, np.arange(records.num_queries)][None], systems=(name,)
    )
    return replace(
        picked,
        cost_usd=picked.cost_usd + overhead_usd,
        latency_s=picked.latency_s + overhead_s,
    )


def _replayed(
    records: Records, confidence: Float[Array | np.ndarray, "n k"], policy: Policy
) -> Replay:
    """Follows one policy over models arranged as it asks them; positions are the records'."""
    order = [name for name in policy.order() if name in records.models]
    rest = [name for name in records.models if name not in order]
    columns = np.array([records.models.index(name) for name in [*order, *rest]])
    arrays = stack_policies([policy], [*order, *rest])
    data = jax.tree.map(lambda cells: cells[:, columns], observations(records))
    found = replay(arrays, jnp.asarray(confidence)[:, columns], data)
    way = found.route
    path = np.where(way.path < 0, _NOBODY, columns[np.asarray(way.path)])
    way = way._replace(last=columns[np.asarray(way.last)], path=path)
    return jax.tree.map(lambda part: np.asarray(part)[0], found._replace(route=way))


def _metrics(
    records: Records,
    wanted: Mapping[str, str],
    asked: Bool[np.ndarray, "s n k"],
    answered_by: Int[np.ndarray, "s n"],
    known: Bool[np.ndarray, "s n"],
) -> dict[str, Float[np.ndarray, "s n"]]:
    found = {}
    for name, how in wanted.items():
        cells = _metric_cells(records, name)
        if how == "calls":
            total = np.where(asked, cells, 0.0).sum(axis=2)
        elif how == "answer":
            rows = np.arange(records.num_queries)
            total = np.where(answered_by == _NOBODY, 0.0, cells[rows, answered_by])
        else:
            raise InvalidInputError(
                f'`metrics["{name}"]` must be "calls" (added up over all calls) or "answer" (of '
                f'the accepted answer); got "{how}".'
            )
        lacking = known & np.isnan(total)
        if lacking.any():
            raise InvalidInputError(
                f'The metric "{name}" is missing in {int(lacking.any(axis=0).sum())} queries '
                "that are compared. Fill it in, or leave those queries out."
            )
        found[name] = np.where(known, total, np.nan)
    return found


def _metric_cells(records: Records, name: str) -> Float[np.ndarray, "n k"]:
    if name not in records.extra:
        raise InvalidInputError(
            f'The records have no further column "{name}"; they have {sorted(records.extra)}.'
        )
    cells = records.extra[name]
    if cells.dtype == object:
        known = [value for value in cells.reshape(-1) if value is not None]
        if not all(isinstance(value, bool | int | float | np.number) for value in known):
            raise InvalidInputError(f'The column "{name}" must hold numbers or truth values.')
        cells = np.array([[np.nan if v is None else float(v) for v in row] for row in cells])
    return cells
