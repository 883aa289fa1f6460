"""The joint model, its fit, policies, and what they bring."""

from jaxcascade.cascade.expectation import expected_outcome, expected_outcomes
from jaxcascade.cascade.fit import CascadeFit, Observations, fit_cascade, fit_weighted, in_cost_order, observations
from jaxcascade.cascade.model import CascadeModel, calibrate
from jaxcascade.cascade.outcome import Outcome, Prices, loss
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT, MISSING, Policy, PolicyArrays, Rule, stack_policies
