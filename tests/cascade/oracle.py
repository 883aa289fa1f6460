"""A second implementation in NumPy and SciPy, slow and plain, written from the design page."""

import numpy as np
from scipy import stats


class Law:
    """One marginal: SciPy's betas between two atoms."""

    def __init__(self, model, j):
        law = model.marginal
        self.low, self.high = float(law.low[j]), float(law.high[j])
        self.atom_low, self.atom_high = float(law.atom_low[j]), float(law.atom_high[j])
        interior = law.interior
        shapes = (interior.weights, interior.concentration1, interior.concentration0)
        columns = (np.asarray(leaf[j]).tolist() for leaf in shapes)
        self.parts = list(zip(*columns, strict=True))
        angle = np.linspace(0, np.pi / 2, 20_001)
        self.mesh = self.low + (self.high - self.low) * np.sin(angle) ** 2
        self.mesh_cdf = self.cdf(self.mesh)

    def cdf(self, x):
        x = np.asarray(x, float)
        z = np.clip((x - self.low) / (self.high - self.low), 0, 1)
        inner = sum(w * stats.beta.cdf(z, a, b) for w, a, b in self.parts)
        value = self.atom_low + (1 - self.atom_low - self.atom_high) * inner
        return np.where(x < self.low, 0.0, np.where(x >= self.high, 1.0, value))

    def icdf(self, u):
        mesh_cdf = self.mesh_cdf.copy()
        mesh_cdf[-1] = 1 - self.atom_high
        x = np.interp(u, mesh_cdf, self.mesh)
        x = np.where(u <= self.atom_low, self.low, x)
        return np.where(u > 1 - self.atom_high, self.high, x)


def gumbel(tau, u, v):
    """The copula's distribution function."""
    theta = 1 / (1 - tau)
    u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
    inside = (u > 0) & (v > 0)
    x, y = (-np.log(np.where(inside, w, 0.5)) for w in (u, v))
    return np.where(inside, np.exp(-((x**theta + y**theta) ** (1 / theta))), 0.0)


def stieltjes(law, conditional, lower, upper):
    """Integral of x dH(x) over (lower, upper] by sums over a fine mesh, atoms apart."""
    at_low, at_end = conditional(np.array(law.cdf(law.low))), conditional(np.array(1.0))
    total = law.low * at_low if lower < law.low <= upper else 0.0
    before_end = conditional(np.array(1 - law.atom_high))
    if lower < law.high <= upper:
        total += law.high * (at_end - before_end)
    a, b = max(lower, law.low), min(upper, law.high)
    if a >= b:
        return total
    angles = [np.arcsin(np.sqrt((t - law.low) / (law.high - law.low))) for t in (a, b)]
    x = law.low + (law.high - law.low) * np.sin(np.linspace(*angles, 20_001)) ** 2
    u = law.cdf(x)
    u[x >= law.high - 1e-15] = 1 - law.atom_high
    mass = np.diff(conditional(u))
    return total + np.sum(mass * 0.5 * (x[1:] + x[:-1]))


def threshold_markov(model, policy):
    """Follows every path of intervals; remembers only the interval of the last model.

    Returns:
        Error, abstention, cost, latency and who answered, per query.
    """
    names = model.models
    laws = {name: Law(model, j) for j, name in enumerate(names)}
    tau = np.asarray(model.copula.tau)
    out = {"error": 0.0, "abstention": 0.0, "cost_usd": 0.0, "latency_s": 0.0}
    answered = dict.fromkeys(names, 0.0)

    def visit(name, reach, conditional):
        j = names.index(name)
        law, rule = laws[name], policy.rules[name]
        out["cost_usd"] += reach * float(model.cost_usd[j])
        out["latency_s"] += reach * float(model.latency_s[j])
        edges = [-np.inf, *rule.breakpoints, np.inf]
        for a, b, action in zip(edges[:-1], edges[1:], rule.actions, strict=True):
            ua, ub = law.cdf(a), law.cdf(b)
            mass = reach * float(conditional(ub) - conditional(ua))
            if action == "accept":
                answered[name] += mass
                out["error"] += mass - reach * stieltjes(law, conditional, a, b)
            elif action == "abstain":
                out["abstention"] += mass
            elif mass > 0:
                t = tau[j, names.index(action)]
                visit(
                    action,
                    mass,
                    lambda v, ua=ua, ub=ub, t=t: (gumbel(t, ub, v) - gumbel(t, ua, v)) / (ub - ua),
                )

    visit(policy.start, 1.0, lambda v: np.asarray(v, float))
    return out | {"answered_by": [float(answered[name]) for name in names]}


def gumbel_sample(rng, tau, n):
    """Marshall and Olkin's construction."""
    alpha = 1 - tau
    angle, clock = np.pi * rng.random(n), rng.exponential(size=n)
    frailty = np.sin(alpha * angle) / np.sin(angle) ** (1 / alpha)
    frailty *= (np.sin((1 - alpha) * angle) / clock) ** ((1 - alpha) / alpha)
    return np.exp(-((rng.exponential(size=(n, 2)) / frailty[:, None]) ** alpha))


def agrees_with(outcome, expected, models=None, **tolerance):
    """Compares an outcome with a dictionary of its members."""
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(outcome, name), value, err_msg=name, **tolerance)
