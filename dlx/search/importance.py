"""How much each nuisance axis matters to a search."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

    from dlx.declaration import Nuisance

TOP, FEWEST = 0.1, 5  # Optuna's share of best asks, and how many these should be at least (its documentation)


def importances(
    asks: Sequence[Mapping[str, Any]], scores: Sequence[float], axes: Mapping[str, "Nuisance"]
) -> dict[str, float]:
    """Shares, 1 in sum, of the axes in what sets the best tenth of asks (at least five) apart from the others.

    PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255), the default of ``optuna.importance``. asks: nuisance values,
    without the axes that an ask lacks; scores: smaller is better, all finite; axes: of whatever is asked for.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {name: _distribution(axis, [a[name] for a in asks if name in a]) for name, axis in axes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study()
        study.add_trials([
            create_trial(value=score, params=dict(ask), distributions={name: known[name] for name in ask})
            for ask, score in zip(asks, scores, strict=True)
        ])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=max(TOP, min(FEWEST / len(asks), 0.5)))
        return get_param_importances(study, evaluator=evaluator)


def _distribution(axis: "Nuisance", values: Sequence[Any]) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if axis.low is None or axis.high is None:
        return distributions.CategoricalDistribution(list(dict.fromkeys(values)))
    if axis.kind == "randint":
        return distributions.IntDistribution(int(axis.low), int(axis.high) - 1)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.kind == "loguniform")
