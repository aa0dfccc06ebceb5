"""Two methods of one column to set against each other, seed by seed."""

from __future__ import annotations

from dataclasses import dataclass

from lossmaxpool.report.formats import count
from lossmaxpool.report.protocol.columns import Column, Scored
from lossmaxpool.report.published import Recipe

# What the paper compares in Figures 3 and 4; then the same without the sampler.
PAIRS = (("base+", "lmp"), ("base", "loss-only"))
_PAPER = (1.3, 0.25)


@dataclass(frozen=True)
class Pair:
    """A baseline and a method with common seeds."""

    column: Column
    baseline: tuple[Scored, ...]
    method: tuple[Scored, ...]

    @property
    def labels(self) -> tuple[str, str]:
        """The names of baseline and method."""
        return self.baseline[0].run.label, self.method[0].run.label


def find_pair(column: Column) -> Pair | str:
    """The first of ``PAIRS`` that was run with a common seed; otherwise what is missing.

    Args:
        column: Runs that may be compared. Of several settings of p and m, the paper's (p = 1.3,
            m = 25 %) is taken.
    """
    reasons = []
    for baseline, method in PAIRS:
        recipes = [recipe for recipe in column.cells if recipe.method == method]
        if not recipes or not column.find(Recipe(baseline)):
            missing = [] if column.find(Recipe(baseline)) else [baseline]
            missing += [] if recipes else [method]
            reasons.append(f"{baseline} and {method}: no finished run of {' or '.join(missing)}")
            continue
        recipe = recipes[0] if len(recipes) == 1 else Recipe(method, *_PAPER)
        if recipe not in recipes:
            reasons.append(
                f"{baseline} and {method}: {count(len(recipes), 'setting')} of {method}, none with "
                "p = 1.3 and m = 25 %"
            )
            continue
        ours, theirs = column.find(recipe), column.find(Recipe(baseline))
        common = {s.run.seed for s in ours} & {s.run.seed for s in theirs}
        if common:
            kept = [tuple(s for s in each if s.run.seed in common) for each in (theirs, ours)]
            return Pair(column, *kept)
        reasons.append(f"{baseline} and {method}: no seed in common")
    return f"{column.name}: {'; '.join(reasons)}."
