"""Which figures a report has."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxcascade.reports import model_figures, policy_figures
from jaxcascade.reports.material import Material
from jaxcascade.reports.style import drawing, marks, to_svg


class Illustration(NamedTuple):
    """A finished figure."""

    name: str
    title: str
    caption: str
    svg: str


def illustrations(material: Material) -> Iterator[Illustration]:
    """Draws every figure that the material allows."""
    look = marks(material.frontier.models)
    makers = [
        policy_figures.error_cost,
        policy_figures.policy_map,
        policy_figures.answer_shares,
        policy_figures.saving,
        model_figures.reliability,
    ]
    if material.frontier.bands is not None:
        makers.insert(1, policy_figures.loss_bands)
    if material.model is not None:
        makers.append(model_figures.marginals)
    if len(material.recorded) > 1:
        makers += [model_figures.copula_scatters, model_figures.tau_matrix]
    for make in makers:
        with drawing():
            name = make.__name__.replace("_", "-")
            title, caption, figure = make(material, look)
            svg = to_svg(figure, name)
        yield Illustration(name, title, caption, svg)
