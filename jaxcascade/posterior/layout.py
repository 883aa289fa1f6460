"""How a posterior's variables are called, shaped and bounded in ArviZ and in a file."""

import numpy as np

# Attributes of the whole.
FORMAT, VERSION = "jaxcascade.posterior", 1

MODEL, PAIR = ("model",), ("pair",)
CELL = ("query", "model")
END, COMPONENT = ("low", "between", "high"), ("lower", "higher")
SITES: dict[str, tuple[str, ...]] = {
    "intercept_mean": (),
    "intercept_spread": (),
    "slope_mean": (),
    "slope_spread": (),
    "intercept": MODEL,
    "steepness": MODEL,
    "slope": MODEL,
    "atoms": ("model", "end"),
    "weight": MODEL,
    "low_center": MODEL,
    "gap": MODEL,
    "concentration": ("model", "component"),
    "tau": PAIR,
    "tau_share": PAIR,
    "history": PAIR,
    "cost_usd": MODEL,
    "latency_s": MODEL,
}
OPTIONAL = ("tau_share",)  # where dependence was drawn with everything else
BOUNDS = {
    "intercept_spread": (0.0, np.inf),
    "slope_spread": (0.0, np.inf),
    "slope": (0.0, np.inf),
    "atoms": (0.0, 1.0),
    "weight": (0.0, 1.0),
    "gap": (0.0, np.inf),
    "concentration": (0.0, np.inf),
    "tau": (-1.0, 1.0),
    "tau_share": (0.0, 1.0),
    "cost_usd": (0.0, np.inf),
    "latency_s": (0.0, np.inf),
}
# NumPyro's names of what NUTS tells of each draw, and ArviZ's.
PER_DRAW = {
    "diverging": "diverging",
    "energy": "energy",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
}
# What evidence is called in a file; `end` is a dimension there.
EVIDENCE = {
    "signal": "signal",
    "place": "place",
    "end": "at_end",
    "asked": "asked",
    "labelled": "labelled",
    "cost_usd": "cost_usd",
    "latency_s": "latency_s",
}
FRAME = ("lowest", "highest", "mean", "scale", "intercept", "slope")


def prior_dims(name: str) -> tuple[str, ...]:
    """Dimensions of a prior's constant."""
    return ("end",) if name == "atom_strength" else ()
