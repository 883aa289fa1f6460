"""The joint model of a pool: each model's calibration and marginal, each pair's copula."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.calibration import Calibrator
from jaxcascade.copulas import Copula
from jaxcascade.errors import UnknownModelError
from jaxcascade.marginals import Marginal


class CascadeModel(eqx.Module):
    """What is known of `k` models that share a stream of queries.

    Every array may carry leading axes (folds, bootstrap replicates, posterior draws); `vmap`
    over them. Models stand in the order in which a policy may ask them: by mean cost, where
    fitting chose it.

    Attributes:
        models: Names.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call; NaN where not recorded.
        calibrator: One calibrator per model, stacked.
        marginal: Law of each model's calibrated confidence, stacked.
        copula: Copula of (model i, model j) at [i, j]; the diagonal means nothing.
    """

    models: tuple[str, ...] = eqx.field(static=True)
    cost_usd: Float[Array, "*batch k"]
    latency_s: Float[Array, "*batch k"]
    calibrator: Calibrator
    marginal: Marginal
    copula: Copula

    def index(self, name: str) -> int:
        """Returns the position of a model.

        Raises:
            UnknownModelError: No such model was fitted.
        """
        if name not in self.models:
            known = ", ".join(f'"{model}"' for model in self.models)
            raise UnknownModelError(f'No model "{name}" was fitted; the fitted ones are {known}.')
        return self.models.index(name)

    def select(self, models: Sequence[str]) -> "CascadeModel":
        """Returns the same for a subset of the models, in the order given (no batch axes)."""
        at = np.array([self.index(name) for name in models])

        def pick(tree):
            return jax.tree.map(lambda leaf: leaf[at], tree)

        copula = jax.tree.map(lambda leaf: leaf[at][:, at], self.copula)
        return CascadeModel(
            tuple(models),
            self.cost_usd[at],
            self.latency_s[at],
            pick(self.calibrator),
            pick(self.marginal),
            copula,
        )

    def calibrate(self, log_confidence: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Returns calibrated confidences; NaN stays NaN."""
        return calibrate(self.calibrator, log_confidence)


@eqx.filter_jit
def calibrate(calibrator: Calibrator, log_confidence: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Applies stacked calibrators, one per column."""
    known = ~jnp.isnan(log_confidence)
    safe = jnp.where(known, log_confidence, 0.0)
    confidence = jax.vmap(lambda one, column: one(column), (0, 1), 1)(calibrator, safe)
    return jnp.where(known, confidence, jnp.nan)
