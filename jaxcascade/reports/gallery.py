"""Which figures a report has."""

from collections.abc import Callable
from functools import partial

from jaxcascade.reports import model_figures, policy_figures
from jaxcascade.reports.material import Drawn, Material
from jaxcascade.reports.style import marks


def makers(material: Material) -> dict[str, Callable[[], Drawn]]:
    """Returns what draws every figure that the material allows, by the figure's name."""
    look = marks(material.frontier.models)
    found = [
        policy_figures.error_cost,
        policy_figures.policy_map,
        policy_figures.answer_shares,
        policy_figures.saving,
        model_figures.reliability,
    ]
    if material.frontier.bands is not None:
        found.insert(1, policy_figures.loss_bands)
    if material.model is not None:
        found.append(model_figures.marginals)
    if len(material.recorded) > 1:
        found += [model_figures.copula_scatters, model_figures.tau_matrix]
    return {make.__name__.replace("_", "-"): partial(make, material, look) for make in found}
