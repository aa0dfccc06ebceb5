"""The result in words, with the same restraint whichever method wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.formats import count, interval, percent, points, share
from lossmaxpool.report.statistics import Gain, Gains, MethodSummary, Summary, t_quantile


@dataclass(frozen=True)
class Finding:
    """One statement: what it is about, and what was found."""

    lead: str
    text: str

    def __str__(self) -> str:
        return f"{self.lead}: {self.text}"


def headline(summary: Summary) -> str:
    """Who is ahead, by how much, over how many seeds: one sentence."""
    best, baseline = summary.best, summary.baseline
    data = summary.comparison.data.name
    if len(summary.methods) == 1:
        return f"{_label(best)} reaches {percent(best.miou.mean)} mIoU on {data} ({_seeds(best)})."
    if baseline is None:
        second = max((m for m in summary.methods if m is not best), key=lambda m: m.miou.mean)
        return (
            f"{_label(best)} has the highest mIoU on {data}: {percent(best.miou.mean)} "
            f"({_seeds(best)}), against {percent(second.miou.mean)} of {_label(second)} "
            f"({_seeds(second)})."
        )
    paired = [(rival, rival.gains.miou) for rival in summary.rivals if rival.gains]
    rival, gain = max(paired, key=lambda pair: pair[1].mean if pair[1].n else -math.inf)
    if not gain.n:
        return (
            f"{_label(rival)} and {_label(baseline)} have no seed in common on {data}, "
            "so no gain can be given."
        )
    return f"{_verdict(rival, baseline, gain)} on {data} ({_figures(rival, baseline, gain)})."


def findings(summary: Summary, method: MethodSummary) -> list[Finding]:
    """What a method did against the baseline: the certainty, the rare classes, the rest."""
    baseline, gains = summary.baseline, method.gains
    if baseline is None or gains is None or not gains.miou.n:
        return []
    rare = summary.rare
    others = [c for c in summary.by_share if c not in rare and summary.train_share[c] > 0]
    absent = [c for c in summary.by_share if summary.train_share[c] == 0]
    held = share(math.fsum(summary.train_share[c] for c in rare))
    together = "together " if len(rare) > 1 else ""
    statements = [
        Finding(f"{_label(method)} against {_label(baseline)}", _certainty(gains.miou)),
        Finding(
            f"{count(len(rare), 'rare class', 'rare classes')} "
            f"({together}{held} % of the training pixels)",
            f"{_gained_and_lost(summary, gains, rare)}.{_settled_classes(summary, gains, rare)}",
        ),
    ]
    if others:
        statements.append(
            Finding(
                count(len(others), "other class", "other classes"),
                f"{_gained_and_lost(summary, gains, others)}.",
            )
        )
    if absent:
        statements.append(
            Finding(
                count(len(absent), "class", "classes") + " without a training pixel",
                f"{_gained_and_lost(summary, gains, absent)}.",
            )
        )
    statements.append(
        Finding(
            "Pixel accuracy",
            f"{percent(method.pixel_accuracy.mean)} against "
            f"{percent(baseline.pixel_accuracy.mean)} ({points(gains.pixel_accuracy.mean)}).",
        )
    )
    return statements


def caveats(summary: Summary) -> list[str]:
    """What a reader must know before trusting the comparison; empty where all is well."""
    notes = [*_unfinished(summary), *_unequal_lengths(summary)]
    baseline = summary.baseline
    if baseline is None:
        notes.append(
            "No run of the baseline (method 'base') is finished, so no class has a gain over it."
        )
        return notes
    for rival in summary.rivals:
        assert rival.gains is not None, "every rival has gains where there is a baseline"
        common = rival.gains.miou.n
        if not common == rival.miou.n == baseline.miou.n:
            notes.append(
                f"{_label(rival)} and {_label(baseline)} did not finish the same seeds: gains are "
                f"over the {count(common, 'common seed')}, means over all finished ones."
            )
    return notes


def _unfinished(summary: Summary) -> list[str]:
    notes = []
    for run in summary.comparison.runs:
        if not run.finished:
            reached = f"at step {run.final.step}" if run.final else "before its first evaluation"
            state = "not finished" if run.status == "running" else run.status
            notes.append(
                f"{run.label}, seed {run.seed}: {state} {reached}. "
                "It is listed with the runs and left out of every mean, gain and figure."
            )
    return notes


def _unequal_lengths(summary: Summary) -> list[str]:
    finished = [run for run in summary.comparison.runs if run.finished]
    if len({run.results.step for run in finished}) == 1:
        return []
    each = "; ".join(f"{run.label}, seed {run.seed}: {run.results.step}" for run in finished)
    return [f"The runs differ in length, so this is not like for like (steps: {each})."]


def _verdict(rival: MethodSummary, baseline: MethodSummary, gain: Gain) -> str:
    if _rounded(gain) == 0:
        return f"{_label(rival)} and {_label(baseline)} are level"
    amount = points(abs(gain.mean)).lstrip("+")
    if gain.settled:
        verb = "beats" if gain.mean > 0 else "loses to"
        return f"{_label(rival)} {verb} {_label(baseline)} by {amount} mIoU points"
    place = "ahead of" if gain.mean > 0 else "behind"
    return f"{_label(rival)} is {amount} mIoU points {place} {_label(baseline)}"


def _figures(rival: MethodSummary, baseline: MethodSummary, gain: Gain) -> str:
    """The means of the paired seeds: their difference is the gain."""
    own, base = (
        percent(fmean(run.results.miou for run in m.method.runs if run.seed in gain.by_seed))
        for m in (rival, baseline)
    )
    figures = f"{own} against {base}, {count(gain.n, 'seed')}"
    return figures if gain.settled else f"{figures}; not settled"


def _certainty(gain: Gain) -> str:
    change = f"{points(gain.mean)} mIoU points"
    if gain.n == 1:
        return (
            f"{change} from a single seed. One pair of runs cannot tell an effect from the luck of "
            "a seed: the difference is not settled."
        )
    verdict = (
        "it excludes zero."
        if gain.settled
        else "it includes zero, so the difference is not settled."
    )
    wide = (
        f" With {gain.n} seeds the interval is wide by nature "
        f"(t = {t_quantile(gain.n - 1):.1f}); more seeds narrow it."
        if gain.n < 5
        else ""
    )
    return f"{change}, 95 % interval {interval(gain)} over {gain.n} seeds: {verdict}{wide}"


def _gained_and_lost(summary: Summary, gains: Gains, classes: Sequence[int]) -> str:
    """Sorted by the gain as printed, so that words and table agree."""
    names = summary.comparison.classes
    present = [c for c in classes if gains.iou[c].n]
    gained = [c for c in present if _rounded(gains.iou[c]) > 0]
    lost = [c for c in present if _rounded(gains.iou[c]) < 0]
    gained.sort(key=lambda c: -gains.iou[c].mean)
    lost.sort(key=lambda c: gains.iou[c].mean)
    parts = [
        f"{len(members)} {verb} ("
        + ", ".join(f"{names[c]} {points(gains.iou[c].mean)}" for c in members)
        + ")"
        for verb, members in (("gained", gained), ("lost", lost))
        if members
    ]
    unchanged = [names[c] for c in present if _rounded(gains.iou[c]) == 0]
    if unchanged:
        parts.append(f"{len(unchanged)} unchanged ({', '.join(unchanged)})")
    absent = [names[c] for c in classes if not gains.iou[c].n]
    if absent:
        parts.append(f"{len(absent)} without an IoU ({', '.join(absent)})")
    return ", ".join(parts)


def _settled_classes(summary: Summary, gains: Gains, classes: Sequence[int]) -> str:
    if all(gains.iou[c].n < 2 for c in classes):
        return ""
    names = [summary.comparison.classes[c] for c in classes if gains.iou[c].settled]
    return f" The 95 % interval excludes zero for {', '.join(names) or 'none of them'}."


def _rounded(gain: Gain) -> float:
    """In points, to the decimal that is printed."""
    return round(100 * gain.mean, 1)


def _label(method: MethodSummary) -> str:
    return method.method.label


def _seeds(method: MethodSummary) -> str:
    return count(method.miou.n, "seed")
