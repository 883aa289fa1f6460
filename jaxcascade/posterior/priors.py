"""What is believed before any data: one number and one reason each."""

import equinox as eqx


class Priors(eqx.Module):
    """Hyperparameters of the joint model.

    Signals are standardised per model, so that log-odds are per standard deviation of the signal.
    A model's place of confidence is its reference confidence stretched to (0, 1). `sensitivity`
    reports what the answers owe to each of these.

    Attributes:
        intercept_scale: Standard deviation of the pool's mean log-odds of being right. 1.5 puts
            nine tenths of pools between 8 % and 92 % right.
        intercept_spread: Median spread of log-odds between models; published pools of language
            models spread by 0.8 to 1.1. The spread is log-normal with `spread_scale`: it stays
            away from zero, where few models leave a funnel that no approximation follows.
        slope_center: Mean, over pools, of what `softplus` turns into the change in log-odds per
            standard deviation of the signal: 0.54 is a slope of 1, as in `LogisticCalibration`. A
            slope is above zero: that a model is less often right when it is more confident is
            noise far more often than truth.
        slope_scale: Standard deviation of that mean between pools.
        slope_spread: Median spread between models of one pool.
        spread_scale: Standard deviation of the logarithm of both spreads.
        atom_strength: Dirichlet weights of the lowest confidence, what lies between, and the
            highest. Two observations in all, half of them between: atoms of nothing and of nearly
            everything have been recorded.
        weight_strength: Both shapes of the beta law of a mixture weight; 2 is away from 0 and 1,
            where a component is not there.
        center_scale: Standard deviation of the log-odds of the lower component's mean place,
            around -1. Wider priors of the places pile confidences up beside the ends of their
            support, where recorded ones seldom are: with 1.5, a gap of 2.5 and concentrations
            around 6 a median of 12 % lie within a hundredth of an end, with these 2 %, and of 53
            recorded columns 1 %.
        gap_scale: Scale of the half-normal distance, in log-odds, to the higher component's
            mean. A distance above zero orders the components: no labels to switch.
        concentration_center: Median of a + b of a component. 8 is a broad hump.
        concentration_scale: Standard deviation of its logarithm: 0.7 (both ends) to 90 (a peak of
            a tenth of the support) are within two of them, and data may say 1000.
        tau_strength: Both shapes of the beta law of Kendall's tau over the range of the family: 2
            is zero at both ends, where models would be strangers or copies.
        history_scale: Standard deviation of the change in log-odds of being right per standard
            deviation of an earlier model's signal, beyond what the model's own signal tells.
    """

    intercept_scale: float = 1.5
    intercept_spread: float = 1.0
    slope_center: float = 0.54
    slope_scale: float = 0.5
    slope_spread: float = 0.5
    spread_scale: float = 0.4
    atom_strength: tuple[float, float, float] = (0.5, 1.0, 0.5)
    weight_strength: float = 2.0
    center_scale: float = 1.0
    gap_scale: float = 1.5
    concentration_center: float = 8.0
    concentration_scale: float = 1.2
    tau_strength: float = 2.0
    history_scale: float = 0.5
