"""Every estimator says what is wrong with its input: words, levels, lengths, missing values, times and events.

Oracle: the true reason, which stands in each case.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnunet_ms.statistics
from nnunet_ms.errors import NnunetMsError, OptionError, StatisticsError
from nnunet_ms.statistics import (
    ancova,
    bootstrap_cox,
    bootstrap_interval,
    calibration,
    calibration_intervals,
    change_from_baseline,
    classification,
    concordance,
    conformal,
    count_agreement,
    count_model,
    cox,
    cox_curves,
    cox_firth,
    cox_increment,
    design_matrix,
    input_checks,
    method_families,
    mmrm,
    multiplicity,
    negative_binomial,
    paired_effect,
    paired_means,
    percent_reduction,
    pooled_effect,
    proportional_hazards,
    ranked_areas,
    repeated_measures,
    roc,
    separation,
    survival,
    survival_comparisons,
    survival_predictions,
    survival_quantiles,
    williams,
)

WEEKS, EVENT = np.array([4.0, 8.0, 8.0, 12.0, 20.0, 24.0]), np.array([1, 0, 1, 1, 0, 1])
X = np.array([[0.0, 1.0], [1.0, 2.0], [0.0, 5.0], [1.0, 1.0], [0.0, 3.0], [1.0, 2.5]])
NAMES, TERMS = ["arm", "age"], {"arm": [0], "age": [1]}
ONES = np.ones((1, 6))
FRAME = pd.DataFrame(
    {"arm": ["a", "a", "a", "b", "b", "b"], "age": [30.0, 41, 52, 33, 44, 56], "region": ["N", "S", "N", "S", "N", "S"],
     "change": [1.0, 3, 2, 5, 4, 7], "lesions": [2, 0, 1, 4, 3, 1], "scans": [1, 2, 3, 1, 2, 3]}
)  # fmt: skip
ARMS = ["a", "b"]
SETS = cox.risk_sets(WEEKS, EVENT, X)
CURVE = survival.kaplan_meier(WEEKS, EVENT, "log")
SCORES = pd.DataFrame(
    [("flair", "ppv", arm, 10, n, n / 10) for arm in ("FT", "DN") for n in range(4)], columns=method_families.COLUMNS
)
A_TERM = design_matrix.number("age", FRAME["age"])

# every function of nnunet_ms.statistics that takes a word, by its parameter, called with a word that it does not know;
# those on data frames are in test_frames.py
WORDS = {
    "ancova.ancova weights": lambda word: ancova.ancova(FRAME, "change", ARMS, weights=word),
    "bootstrap_cox.cox_draws ties": lambda word: bootstrap_cox.cox_draws(WEEKS, EVENT, X, word, ONES, np.zeros(2)),
    "count_model.count_model covariance": lambda word: count_model.count_model(
        FRAME, "lesions", "scans", ARMS, covariance=word
    ),
    "count_model.count_model weights": lambda word: count_model.count_model(
        FRAME, "lesions", "scans", ARMS, weights=word
    ),
    "cox_curves.cox_curves ties": lambda word: cox_curves.cox_curves(WEEKS, EVENT, X, X, [12.0], ties=word),
    "cox_increment.cox_increment ties": lambda word: cox_increment.cox_increment(
        WEEKS, EVENT, X[:, :1], X[:, 1:], word
    ),
    "cox.cox_univariable ties": lambda word: cox.cox_univariable(WEEKS, EVENT, X[:, 1], word),
    "cox.derivatives ties": lambda word: cox.derivatives(SETS, np.zeros(2), word, np.ones(6)),
    "cox.event_terms ties": lambda word: cox.event_terms(SETS, np.zeros(2), word, np.ones(6)),
    "cox.fit_cox ties": lambda word: cox.fit_cox(WEEKS, EVENT, X, NAMES, word),
    "cox.maximise ties": lambda word: cox.maximise(SETS, word),
    "cox_firth.firth_cox ties": lambda word: cox_firth.firth_cox(WEEKS, EVENT, X, NAMES, "arm", word),
    "cox.risk_set_sums ties": lambda word: cox.risk_set_sums(SETS, X, word, np.ones(6)),
    "cox_firth.firth_model ties": lambda word: cox_firth.firth_model(WEEKS, EVENT, X, NAMES, word),
    "cox_firth.penalised_test ties": lambda word: cox_firth.penalised_test(WEEKS, EVENT, X, [0], word),
    "multiplicity.serial_gatekeeping within": lambda word: multiplicity.serial_gatekeeping([], 0.05, word),
    "separation.estimable_covariates weights": lambda word: separation.estimable_covariates(
        FRAME, "lesions", ARMS, weights=word
    ),
    "survival.falls_to flat_step": lambda word: survival.falls_to(WEEKS, np.ones(6), 0.5, word),
    "survival_quantiles.quantile_time flat_step": lambda word: survival_quantiles.quantile_time(CURVE, 0.5, word),
    "cox_firth.penalised_log_likelihood ties": lambda word: cox_firth.penalised_log_likelihood(SETS, np.zeros(2), word),
    "design_matrix.arm_design weights": lambda word: design_matrix.arm_design(FRAME, ARMS, weights=word),
    "design_matrix.factor weights": lambda word: design_matrix.factor("region", FRAME["region"], word),
    "design_matrix.product weights": lambda word: design_matrix.product(A_TERM, A_TERM, weights=word),
    "paired_effect.log_hazard_ratio ties": lambda word: paired_effect.log_hazard_ratio(WEEKS, EVENT, X, 0, word),
    "proportional_hazards.proportional_hazards_test ties": lambda word: proportional_hazards.proportional_hazards_test(
        WEEKS, EVENT, X, TERMS, word
    ),
    "proportional_hazards.proportional_hazards_test transform": lambda word: (
        proportional_hazards.proportional_hazards_test(WEEKS, EVENT, X, TERMS, "efron", word)
    ),
    "survival.kaplan_meier interval": lambda word: survival.kaplan_meier(WEEKS, EVENT, word),
    "survival_predictions.curve_concordance weights": lambda word: survival_predictions.curve_concordance(
        WEEKS, EVENT, ONES.T, [8], weights=word
    ),
    "survival_predictions.time_concordance weights": lambda word: survival_predictions.time_concordance(
        WEEKS, EVENT, WEEKS, weights=word
    ),
    "survival.median_time flat_step": lambda word: survival.median_time(CURVE, word),
}
# names that are not words of ours, but of the caller
NAMED = {
    "cox term": lambda name: cox.fit_cox(WEEKS, EVENT, X, NAMES, "efron").term(name),
    "firth term": lambda name: cox_firth.firth_cox(WEEKS, EVENT, X, NAMES, name),
    "arm": lambda name: design_matrix.arm_design(FRAME, ARMS).arm_point(name),
    "product": lambda name: design_matrix.arm_design(FRAME, ARMS, ["age"], products=[("arm", name)]),
    "reference": lambda name: design_matrix.factor("region", FRAME["region"], reference=name),
}


def modules():
    for found in pkgutil.iter_modules(nnunet_ms.statistics.__path__):
        yield importlib.import_module(f"nnunet_ms.statistics.{found.name}")


def public_functions():
    for module in modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", function


def literal_parameters():
    """Parameters of public functions whose type is a `Literal`."""
    for name, function in public_functions():
        for parameter, kind in typing.get_type_hints(function).items():
            if parameter != "return" and typing.get_origin(kind) is typing.Literal:
                yield f"{name} {parameter}"


def test_every_function_that_takes_a_word_is_in_the_list():
    assert {name for name in literal_parameters() if not name.startswith("frame_")} == set(WORDS)


@pytest.mark.parametrize("function", WORDS)
def test_an_unknown_word_is_refused_with_the_known_ones(function):
    parameter = function.split(" ")[1]
    with pytest.raises(OptionError, match=rf"^{parameter}: expected one of '.*', found 'Linear'"):
        WORDS[function]("Linear")


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: cox.fit_cox(WEEKS, EVENT, X, NAMES, "Efron"), "efron"),
        (lambda: survival.kaplan_meier(WEEKS, EVENT, "Plain"), "plain"),
        (lambda: ancova.ancova(FRAME, "change", ARMS, weights="proportionel"), "proportional"),
        (lambda: count_model.count_model(FRAME, "lesions", "scans", ARMS, covariance="observd"), "observed"),
    ],
)
def test_a_slip_is_met_with_the_word_that_was_meant(call, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        call()


@pytest.mark.parametrize("what", NAMED)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(what):
    with pytest.raises(OptionError, match=r"expected one of '.*', found 'other'"):
        NAMED[what]("other")


def documented_words(path):
    """Parameters whose docstring lists words, `name : {"a", "b"}`, with whether their type is more than text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                if f'{argument.arg} : {{"' in text:
                    kind = ast.unparse(argument.annotation)
                    yield f"{path.stem}.{node.name} {argument.arg}", "str" not in kind.split(" | ")


PACKAGE = Path(nnunet_ms.statistics.__file__).parents[1]


def checked_words(path):
    """Names that the room of a file gives to `chosen`."""
    room = PACKAGE / path.relative_to(PACKAGE).parts[0]
    text = "".join(p.read_text(encoding="utf-8") for p in ([room] if room.is_file() else room.rglob("*.py")))
    return set(re.findall(r"chosen\((\w+),", text))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_words_listed_in_a_docstring_stand_in_the_type_or_are_checked_as_text(path):
    words = [name for name, typed in documented_words(path) if not typed]
    assert [name for name in words if name.split(" ")[1] not in checked_words(path)] == []


LEVELS = {
    "cox_increment": lambda c: cox_increment.cox_increment(WEEKS, EVENT, X[:, :1], X[:, 1:], confidence=c),
    "survival_scores": lambda c: survival_comparisons.survival_scores(WEEKS, EVENT, {"a": ONES.T}, [8], 8, level=c),
    "curve_concordance": lambda c: survival_predictions.curve_concordance(WEEKS, EVENT, ONES.T, [8], level=c),
    "time_concordance": lambda c: survival_predictions.time_concordance(WEEKS, EVENT, WEEKS, level=c),
    "area_differences": lambda c: ranked_areas.area_differences(scores(3), scores(3), level=c),
    "areas": lambda c: ranked_areas.areas(scores(3), level=c),
    "calibration": lambda c: calibration.calibration(EVENT, X[:, 0], c),
    "calibration_measures": lambda c: calibration_intervals.calibration_measures(
        EVENT, X[:, 0], list("abcdef"), level=c
    ),
    "calibration_groups": lambda c: calibration.calibration_groups(EVENT, X[:, 0], 2, c),
    "conformal_quantile": lambda c: conformal.conformal_quantile([1.0, 2.0], level=c),
    "jackknife_plus": lambda c: conformal.jackknife_plus([1.0, 2.0], [1.0, 1.0], level=c),
    "count_agreement": lambda c: count_agreement.count_agreement([1, 2], [1, 2], ["a", "b"], level=c),
    "fisher_interval": lambda c: count_agreement.fisher_interval(0.5, 10, c),
    "decision_differences": lambda c: classification.decision_differences(*(EVENT,) * 3, list("abcdef"), level=c),
    "decision_rates": lambda c: classification.decision_rates(EVENT, EVENT, list("abcdef"), level=c),
    "ancova": lambda c: ancova.ancova(FRAME, "change", ARMS, confidence=c),
    "bland_altman": lambda c: concordance.bland_altman([1, 2, 3], [1, 2, 4], c),
    "bland_altman_ratio": lambda c: concordance.bland_altman_ratio([1, 2, 3], [1, 2, 4], c),
    "combination": lambda c: cox.fit_cox(WEEKS, EVENT, X, NAMES, "efron").combination(np.array([1.0, 0.0]), c),
    "concordance_correlation": lambda c: concordance.concordance_correlation([1, 2, 3], [1, 2, 4], c),
    "contrast": lambda c: fitted_mmrm().contrast(np.array([0.0, 1.0]), c),
    "count_model": lambda c: count_model.count_model(FRAME, "lesions", "scans", ARMS, confidence=c),
    "cox_univariable": lambda c: cox.cox_univariable(WEEKS, EVENT, X[:, 1], "efron", c),
    "crude_reduction": lambda c: percent_reduction.crude_reduction(*(np.array([1.0, 2.0]),) * 4, c),
    "exact_rate_bound": lambda c: count_model.exact_rate_bound(0, 10, c),
    "exact_rate_ratio": lambda c: count_model.exact_rate_ratio(1, 10, 2, 10, c),
    "firth_cox": lambda c: cox_firth.firth_cox(WEEKS, EVENT, X, NAMES, "arm", confidence=c),
    "firth_model": lambda c: cox_firth.firth_model(WEEKS, EVENT, X, NAMES, "efron", confidence=c),
    "serial_gatekeeping": lambda c: multiplicity.serial_gatekeeping([], c),
    "survival_difference": lambda c: survival_quantiles.survival_difference(CURVE, CURVE, 9, c),
    "fixed_sequence": lambda c: multiplicity.fixed_sequence(["a"], [0.01], c),
    "intraclass_correlation": lambda c: concordance.intraclass_correlation(X, c),
    "kaplan_meier": lambda c: survival.kaplan_meier(WEEKS, EVENT, "log", c),
    "mean_time_difference": lambda c: survival.mean_time_difference(survival.MeanTime(9), survival.MeanTime(9), c),
    "paired_draws": lambda c: paired_effect.paired_draws(*(paired_effect.DrawnEffect(1.0, np.ones(9)),) * 2, c),
    "paired_effect": lambda c: paired_effect.paired_effect(np.sum, np.sum, ONES, c),
    "patient_interval": lambda c: bootstrap_interval.patient_interval(X, lambda s: s[:, 0], level=c),
    "pearson_correlation": lambda c: concordance.pearson_correlation([1, 2, 3], [1, 2, 4], c),
    "restricted_mean": lambda c: survival.restricted_mean(WEEKS, EVENT, 20, c),
    "separation": lambda c: change_from_baseline.separation(WEEKS, WEEKS, c),
    "term": lambda c: cox.fit_cox(WEEKS, EVENT, X, NAMES, "efron").term("arm", c),
    "method_comparisons": lambda c: method_families.method_comparisons(SCORES, alpha=c),
    "paired_comparison": lambda c: repeated_measures.paired_comparison(WEEKS, WEEKS[::-1], c),
    "paired_means": lambda c: paired_means.paired_means(WEEKS, WEEKS[::-1], c),
    "pooled_effect": lambda c: pooled_effect.pooled_effect(np.zeros(2), np.ones(2), c),
    "unpaired_comparison": lambda c: repeated_measures.unpaired_comparison(WEEKS, WEEKS[1:], c),
    "williams_index": lambda c: williams.williams_index(X, X[:, :1], list("abcdef"), c),
}


def fitted_mmrm():
    return mmrm.fit_mmrm(FRAME["change"], np.column_stack([np.ones(6), FRAME["arm"] == "b"]), range(6), [1] * 6, ARMS)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, float("nan"), "0.95"])
@pytest.mark.parametrize("function", LEVELS)
def test_a_level_lies_between_0_and_1(function, confidence):
    with pytest.raises(OptionError, match=r"^(confidence|level|alpha): expected a number between 0 and 1, found"):
        LEVELS[function](confidence)


def test_every_function_with_a_level_is_in_the_list():
    with_level = {
        name.partition(".")[2]
        for name, function in public_functions()
        if {"confidence", "alpha", "level"} & set(inspect.signature(function).parameters)
        and not name.startswith(("frame_", "input_checks."))
    } - {"rate_effect"}  # its alpha is a dispersion
    assert with_level <= set(LEVELS)


LENGTHS = {
    "auc": lambda: roc.Scores(np.ones(2), np.ones(3), np.array(["a"]), np.array(["a", "b", "c"])),
    "cox": lambda: cox.fit_cox(WEEKS, EVENT[:5], X, NAMES, "efron"),
    "cox covariates": lambda: cox.fit_cox(WEEKS, EVENT, X[:5], NAMES, "efron"),
    "cox strata": lambda: cox.fit_cox(WEEKS, EVENT, X, NAMES, "efron", ["a"] * 5),
    "cox_draws": lambda: bootstrap_cox.cox_draws(WEEKS, EVENT, X, "efron", np.ones((2, 5)), np.zeros(2)),
    "cox_univariable": lambda: cox.cox_univariable(WEEKS, EVENT, X[:5, 1], "efron"),
    "crude_reduction": lambda: percent_reduction.crude_reduction(*(np.ones(n) for n in (2, 3, 2, 2))),
    "delong_test": lambda: roc.delong_test(scores(3), scores(4)),
    "firth_cox": lambda: cox_firth.firth_cox(WEEKS, EVENT, X[:5], NAMES, "arm"),
    "fit_mmrm": lambda: mmrm.fit_mmrm(WEEKS, X, range(5), range(6), NAMES),
    "fixed_sequence": lambda: multiplicity.fixed_sequence(["a", "b"], [0.01], 0.05),
    "kaplan_meier": lambda: survival.kaplan_meier(WEEKS, EVENT[:5], "log"),
    "linear_effect": lambda: paired_effect.linear_effect(WEEKS[:5], X, 0),
    "logrank": lambda: survival.logrank(WEEKS, EVENT, FRAME["arm"][:5]),
    "mean_interval": lambda: bootstrap_interval.mean_interval([1.0, 2.0], ["a"]),
    "negative_binomial": lambda: negative_binomial.fit_negative_binomial(WEEKS, X, np.zeros(5)),
    "pearson_interval": lambda: bootstrap_interval.pearson_interval(WEEKS, WEEKS[:5], ["a"] * 6),
    "poisson": lambda: negative_binomial.fit_poisson(WEEKS, X[:5], np.zeros(6)),
    "product": lambda: design_matrix.product(A_TERM, design_matrix.number("x", [1.0])),
    "proportional_hazards": lambda: proportional_hazards.proportional_hazards_test(WEEKS, EVENT, X[:5], TERMS, "efron"),
    "rate_effect": lambda: paired_effect.log_ratio_of_means(WEEKS, WEEKS[:5], EVENT == 1, EVENT == 0),
    "restricted_mean": lambda: survival.restricted_mean(WEEKS, EVENT[:5], 10),
    "risk_sets": lambda: cox.risk_sets(WEEKS, EVENT[:5], X),
}


def scores(n):
    return roc.Scores(np.arange(n) * 1.0, np.arange(3.0), np.array(["a"] * n), np.array(["a"] * 3))


@pytest.mark.parametrize("function", LENGTHS)
def test_lengths_that_differ_are_refused_with_both(function):
    with pytest.raises(StatisticsError, match=r"expected (equal lengths|both readers to score the same).*, found"):
        LENGTHS[function]()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cox.fit_cox(WEEKS, EVENT, X, ["arm"], "efron"), "names: expected one per column, found 1 for 2"),
        (lambda: mmrm.fit_mmrm(WEEKS, X, range(6), range(6), ["a"]), "names: expected one per column, found 1 for 2"),
        (lambda: fitted_mmrm().contrast(np.ones(3)), "expected 2 weights, one per coefficient, found 3"),
        (lambda: survival.kaplan_meier(["soon"] * 6, EVENT, "log"), "time: expected numbers"),
        (lambda: survival.kaplan_meier(WEEKS[:, None], EVENT, "log"), r"time: .* 1 axes, found shape \(6, 1\)"),
        (lambda: ancova.ancova(FRAME, "Change", ARMS), r"expected column 'Change', found \['arm', .*mean 'change'"),
        (lambda: count_model.count_model(FRAME, "lesions", "time", ARMS), "expected column 'time', found"),
        (lambda: multiplicity.holm([0.1, 1.5]), "p: expected values from 0 to 1, found 1.5"),
        (lambda: count_model.exact_rate_bound(-1, 3), "whole numbers >= 0, found -1"),
        (lambda: count_model.exact_rate_ratio(1, 0, 2, 3), "exposure: expected values > 0, found 0"),
        (lambda: change_from_baseline.mean_change(np.array([1.0, np.nan])), "1 of 2 values of values are missing"),
        (lambda: survival.above_median([]), "no values"),
        (lambda: survival.above_median([1.0, np.nan]), "1 of 2 values of values are missing"),
        (lambda: roc.auc([0.5, np.nan], [0.1]), "1 of 2 values of positive are missing"),
        (lambda: count_model.rank_sum_p([1.0, np.nan], [2.0]), "1 of 2 values of values are missing"),
        (lambda: design_matrix.arm_design(FRAME, ["a", "c"]), r"3 patients in no arm of \['a', 'c'\], but in b"),
        (lambda: bootstrap_interval.patient_interval(X * np.nan, np.sum), "12 of 12 values of sums are missing"),
        (lambda: bootstrap_interval.patient_interval(X, np.sum, 0), "replicates: expected 1 or more, found 0"),
        (lambda: negative_binomial.fit_poisson(WEEKS * np.nan, X, np.zeros(6)), "6 of 6 values of counts are missing"),
    ],
)
def test_what_the_caller_can_mend_is_an_error_that_says_how(call, message):
    with pytest.raises(NnunetMsError, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError)


BAD_TIMES = [
    (np.where(WEEKS == 4, np.nan, WEEKS), EVENT, "1 of 6 values of time are missing or infinite"),
    (np.where(WEEKS == 4, np.inf, WEEKS), EVENT, "1 of 6 values of time are missing or infinite"),
    (WEEKS, np.where(WEEKS == 4, np.nan, EVENT), "1 of 6 values of event are missing or infinite"),
    (WEEKS - 10, EVENT, "time: expected values >= 0, found -6"),
    (WEEKS, EVENT + 1, "event: expected 0 (censored) and 1 (event), found 2"),
]


@pytest.mark.parametrize(("weeks", "event", "reason"), BAD_TIMES)
def test_times_and_events_that_cannot_be_analysed_are_named(weeks, event, reason):
    assert cox.fit_cox(weeks, event, X, NAMES, "efron").problem == reason
    assert cox.cox_univariable(weeks, event, X[:, 1], "efron").problem == reason
    assert cox_firth.firth_cox(weeks, event, X, NAMES, "arm").problem == reason
    assert survival.logrank(weeks, event, FRAME["arm"]).problem == reason
    assert survival.restricted_mean(weeks, event, 10).problem == reason
    for call in (
        lambda: survival.kaplan_meier(weeks, event, "log"),
        lambda: proportional_hazards.proportional_hazards_test(weeks, event, X, TERMS, "efron"),
    ):
        with pytest.raises(StatisticsError, match=re.escape(reason)):
            call()


def holes(column):
    return FRAME.assign(**{column: FRAME[column].where(FRAME.index != 2)})


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (lambda: ancova.ancova(holes("change"), "change", ARMS), "1 of 6 values of change are missing or infinite"),
        (lambda: ancova.ancova(holes("age"), "change", ARMS, ["age"]), "1 of 6 values of age are missing or infinite"),
        (lambda: ancova.ancova(holes("arm"), "change", ARMS), "1 of 6 values of arm are missing"),
        (lambda: ancova.ancova(holes("region"), "change", ARMS, [], ["region"]), "1 of 6 values of region are missing"),
        (lambda: ancova.ancova(FRAME, "change", ["a", "c"]), "0 patients in arm c, needs 2"),
        (lambda: ancova.ancova(three_arms(), "change", ARMS), "2 patients in no arm of ['a', 'b'], but in c"),
        (lambda: ranked(holes("age")), "1 of 6 values of age are missing or infinite"),
        (lambda: counted(holes("lesions")), "1 of 6 values of lesions are missing or infinite"),
        (lambda: counted(FRAME.assign(lesions=-1)), "count: expected whole numbers >= 0, found -1"),
        (lambda: counted(FRAME.assign(lesions=0.5)), "count: expected whole numbers >= 0, found 0.5"),
        (lambda: counted(FRAME.assign(scans=0)), "exposure: expected values > 0, found 0"),
        (lambda: counted(three_arms()), "2 patients in no arm of ['a', 'b'], but in c"),
        (lambda: cox_of(X * [1, np.nan]), "6 of 6 values of age are missing or infinite"),
        (lambda: cox.fit_cox(WEEKS, EVENT, X, NAMES, "efron", [None, *"abcde"]), "1 of 6 values of strata are missing"),
        (lambda: survival.logrank(WEEKS, EVENT, [None, *"abcde"]), "1 of 6 values of group are missing"),
        (lambda: survival.logrank([], [], []), "0 groups with patients, needs 2"),
        (lambda: survival.restricted_mean(WEEKS, EVENT, 0), "horizon: expected weeks > 0, found 0"),
        (lambda: mmrm_of(WEEKS * np.nan), "6 of 6 values of response are missing or infinite"),
        (lambda: reduced(np.array([1.0, np.nan])), "2 of 4 values of lesions are missing or infinite"),
    ],
)  # fmt: skip
def test_what_the_data_hold_is_said_in_problem(problem, reason):
    assert problem().problem == reason


def ranked(frame):
    return ancova.ranked_ancova(frame, "change", ARMS, "age")


def cox_of(covariates):
    return cox.fit_cox(WEEKS, EVENT, covariates, NAMES, "efron")


def mmrm_of(values):
    return mmrm.fit_mmrm(values, X, range(6), range(6), NAMES)


def reduced(lesions):
    return percent_reduction.crude_reduction(lesions, np.ones(2), lesions, np.ones(2))


def three_arms():
    return pd.concat([FRAME, FRAME.iloc[:2].assign(arm="c")], ignore_index=True)


def counted(frame):
    return count_model.count_model(frame, "lesions", "scans", ARMS)


def test_a_problem_leaves_nothing_that_looks_like_a_number():
    fit = ancova.ancova(holes("change"), "change", ARMS)
    assert fit.contrasts == fit.means == fit.contrasts_robust == ()
    assert np.isnan(cox.fit_cox(WEEKS, EVENT, X * np.nan, NAMES, "efron").term("age").hazard_ratio)
    assert np.isnan(mmrm.fit_mmrm(WEEKS * np.nan, X, range(6), range(6), NAMES).contrast(np.ones(2)).estimate)


def test_flags_as_events_and_whole_numbers_as_times_are_the_same():
    for event in (EVENT, EVENT.astype(bool), EVENT.astype(float), pd.Series(EVENT), list(EVENT)):
        _, happened, problem = input_checks.time_to_event(WEEKS.astype(int), event)
        assert problem == ""
        assert happened.tolist() == (EVENT == 1).tolist()
