"""The statements of docs/errata.md on the paper's numbers, recomputed from the printed figures."""

from __future__ import annotations

import numpy as np
import pytest
from reproduction.published import TABLE_1, TABLE_3A, TABLE_3B, value

from lossmaxpool.paper import dual, theorems, weighting_set
from tests.tolerances import PAPER, PAPER_SUM

# Table 1: p -> IoU after 150k, 160k and 165k iterations, mean, standard deviation.
PRINTED_1 = {row.name: [value(cell) for cell in row.cells] for row in TABLE_1.rows}

# Table 3: per-class IoU, then the printed mean, under BASE+ and LMP.
CITYSCAPES_BASE_PLUS, CITYSCAPES_LMP = (
    tuple(map(value, cells)) for cells in TABLE_3A.means.values()
)
VOC_BASE_PLUS, VOC_LMP = (tuple(map(value, cells)) for cells in TABLE_3B.means.values())

CENT = 0.0101  # the scores and what is computed from them are each rounded to 0.01


@pytest.mark.parametrize("p", [p for p in PRINTED_1 if p != "1.7"])
def test_deviations_are_sample_deviations(p: str) -> None:
    *scores, mean, deviation = PRINTED_1[p]
    assert np.mean(scores) == pytest.approx(mean, abs=CENT)
    assert np.std(scores, ddof=1) == pytest.approx(deviation, abs=CENT)


def test_row_1_7_contradicts_itself_unless_its_first_score_is_74_40() -> None:
    *scores, mean, deviation = PRINTED_1["1.7"]
    assert abs(np.mean(scores) - mean) > 0.1
    assert abs(np.std(scores, ddof=1) - deviation) > 0.15
    scores[0] = 74.40
    assert np.mean(scores) == pytest.approx(mean, abs=CENT)
    assert np.std(scores, ddof=1) == pytest.approx(deviation, abs=CENT)


@pytest.mark.parametrize(
    ("row", "classes"),
    [(CITYSCAPES_BASE_PLUS, 19), (CITYSCAPES_LMP, 19), (VOC_BASE_PLUS, 21), (VOC_LMP, 21)],
)
def test_class_counts_and_means_of_table_3(row: tuple[float, ...], classes: int) -> None:
    *scores, mean = row
    assert len(scores) == classes
    assert np.mean(scores) == pytest.approx(mean, abs=CENT)


def test_classes_that_gain() -> None:
    """18 of 19 on Cityscapes, truck being the one; 17 of 21 on VOC."""
    cityscapes = np.subtract(CITYSCAPES_LMP, CITYSCAPES_BASE_PLUS)[:-1]
    voc = np.subtract(VOC_LMP, VOC_BASE_PLUS)[:-1]
    assert (cityscapes > 0).sum() == 18
    assert cityscapes[14] == pytest.approx(-1.83)
    assert (voc > 0).sum() == 17


def test_one_point_four_is_a_difference_of_points() -> None:
    lmp, strongest = 76.29, 77.69
    assert strongest - lmp == pytest.approx(1.40)
    assert (strongest - lmp) / strongest == pytest.approx(0.018, abs=PAPER)


def test_worst_classes_do_not_make_up_for_the_gain() -> None:
    """7 classes by 5 points or 10 by 3 are less than 19 times the gap between BASE and LMP."""
    base, lmp = 72.55, 75.06
    assert 19 * (lmp - base) == pytest.approx(47.7, abs=PAPER_SUM)
    assert max(7 * 5, 10 * 3) < 19 * (lmp - base)


def test_five_tiles_do_not_divide_the_image() -> None:
    assert 2048 % 5 != 0


def test_capped_set_of_the_appendix_compares_eta_with_a_loss() -> None:
    """{eta(l(u)) > alpha*} changes with the unit of the losses; {l > alpha*} does not."""
    losses, m = np.array([0.1, 0.2, 0.4, 3.0]), 2
    for scale, same in ((1.0, True), (1e-3, False)):
        scaled = scale * losses
        solution = theorems.solve(scaled, 2, m)
        etas = np.array([dual.eta(loss, scaled, 2, m) for loss in scaled])
        assert ((etas > 0) == solution.capped).all()
        assert ((etas > solution.threshold) == solution.capped).all() == same


def test_a_maximizer_need_not_have_norm_gamma() -> None:
    """Counterexamples to the first step of Theorem 2's proof: zero losses, and the cap."""
    losses, m = [0.0, 2.0, 0.0, 1.0, 0.0], 2.5
    solution = theorems.theorem_2(losses, m)
    norm = solution.weights.sum()
    gamma, tau = weighting_set.norm_bound(5, 1), weighting_set.weight_cap(5, 1, m)
    assert norm == pytest.approx(0.8 * gamma)
    assert dual.g(solution.dual, losses, 1, m) == pytest.approx(solution.value)  # yet optimal
    assert (solution.weights * gamma / norm).max() > tau  # and scaled up, infeasible
