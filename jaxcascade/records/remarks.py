"""What a user should know of a table that can be used all the same."""

import numpy as np

from jaxcascade.records.table import Records
from jaxcascade.records.wording import quoted


def remarks(records: Records) -> list[str]:
    """Lists what is unusual: gaps, answers that are all alike, constant confidence, free calls.

    Example:
        >>> import pandas as pd
        >>> from jaxcascade.records import read_records
        >>> remarks(read_records(pd.DataFrame({
        ...     "query": [1, 2], "model": ["a", "a"], "confidence": [0.5, 0.6],
        ...     "correct": [1, 1], "cost_usd": [0.1, 0.1]})))
        ['"a" is right in all 2 labelled runs: how it errs cannot be learnt.']
    """
    return [line for j in range(records.num_models) for line in _of_model(records, j)]


def _of_model(records: Records, j: int) -> list[str]:
    name = quoted(records.models[j])
    asked, correct = records.asked[:, j], records.correct[:, j]
    labels = correct[asked & ~np.isnan(correct)]
    lines = []
    if not asked.all():
        lines.append(f"{name} was not asked {int((~asked).sum())} of {asked.size} queries.")
    if labels.size < asked.sum():
        lines.append(f"{name} has no label for {int(asked.sum()) - labels.size} of its runs.")
    if labels.size and labels.all():
        lines.append(
            f"{name} is right in all {labels.size} labelled runs: how it errs cannot be learnt."
        )
    if labels.size and not labels.any():
        lines.append(f"{name} is wrong in all {labels.size} labelled runs.")
    confidence = records.log_confidence[asked, j]
    if confidence.size > 1 and np.all(confidence == confidence[0]):
        lines.append(
            f"{name} has the same confidence in every run: it cannot tell when it is wrong."
        )
    if asked.any() and not records.cost_usd[asked, j].any():
        lines.append(f"{name} costs nothing in any run.")
    return lines
