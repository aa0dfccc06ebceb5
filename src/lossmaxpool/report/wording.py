"""The result in words, with the same restraint whichever method wins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lossmaxpool.report.formats import count, interval, percent, points, share
from lossmaxpool.report.statistics import Gain, MethodSummary, Summary, t_quantile


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
    rival = max(summary.rivals, key=lambda m: _gain(m).mean if _gain(m).n else -math.inf)
    gain = _gain(rival)
    if not gain.n:
        return (
            f"{_label(rival)} and {_label(baseline)} have no seed in common on {data}, "
            "so no gain can be given."
        )
    return f"{_verdict(rival, baseline, gain)} on {data} ({_figures(rival, baseline, gain)})."


def findings(summary: Summary) -> list[str]:
    """What the headline leaves out, one list entry per statement."""
    baseline = summary.baseline
    if baseline is None:
        return ["There is no BASE run among these, so no gains over plain cross-entropy are given."]
    statements = []
    for rival in summary.rivals:
        if _gain(rival).n:
            statements.append(_certainty(rival, baseline))
            statements.append(_rare_classes(summary, rival))
            statements.append(_other_classes(summary, rival))
    return [statement for statement in statements if statement]


def caveats(summary: Summary) -> list[str]:
    """What a reader must know before trusting the comparison; empty where all is well."""
    runs = summary.comparison.runs
    notes = []
    for run in runs:
        if not run.finished:
            reached = f" at step {run.final.step}" if run.final else " before its first evaluation"
            notes.append(
                f"{run.label}, seed {run.seed}: {run.status}{reached}; "
                "shown under Runs, left out of every mean, gain and figure."
            )
    steps = {run.results.step for run in runs if run.finished}
    if len(steps) > 1:
        each = "; ".join(
            f"{run.label}, seed {run.seed}: {run.results.step}" for run in runs if run.finished
        )
        notes.append(f"The runs are not equally long, so not like for like (steps: {each}).")
    baseline = summary.baseline
    for rival in summary.rivals if baseline else ():
        assert baseline is not None
        if not _gain(rival).n == rival.miou.n == baseline.miou.n:
            notes.append(
                f"{_label(rival)} and {_label(baseline)} did not finish the same seeds: gains are "
                f"over the {count(_gain(rival).n, 'common seed')}, means over all finished seeds."
            )
    return notes


def _verdict(rival: MethodSummary, baseline: MethodSummary, gain: Gain) -> str:
    amount = points(abs(gain.mean)).lstrip("+")
    if float(amount) == 0:
        return f"{_label(rival)} and {_label(baseline)} are level"
    if gain.settled:
        verb = "beats" if gain.mean > 0 else "loses to"
        return f"{_label(rival)} {verb} {_label(baseline)} by {amount} mIoU points"
    place = "ahead of" if gain.mean > 0 else "behind"
    return f"{_label(rival)} is {amount} mIoU points {place} {_label(baseline)}"


def _figures(rival: MethodSummary, baseline: MethodSummary, gain: Gain) -> str:
    seeds = count(gain.n, "seed")
    figures = f"{percent(rival.miou.mean)} against {percent(baseline.miou.mean)}, {seeds}"
    return figures if gain.settled else f"{figures}; not settled"


def _certainty(rival: MethodSummary, baseline: MethodSummary) -> str:
    gain = _gain(rival)
    between = f"{_label(rival)} against {_label(baseline)}: {points(gain.mean)} mIoU points"
    if gain.n == 1:
        return (
            f"{between} from a single seed. One pair of runs cannot tell an effect from the luck "
            "of a seed: the difference is not settled."
        )
    wide = (
        f" With {gain.n} seeds an interval is wide by nature "
        f"(t = {t_quantile(gain.n - 1):.1f}); more seeds narrow it."
        if gain.n < 5
        else ""
    )
    if gain.settled:
        return f"{between}, 95 % interval {interval(gain)}: it excludes zero.{wide}"
    return (
        f"{between}, 95 % interval {interval(gain)}: it includes zero, "
        f"so the difference is not settled.{wide}"
    )


def _rare_classes(summary: Summary, rival: MethodSummary) -> str:
    rare = summary.rare
    held = share(math.fsum(summary.train_share[c] for c in rare))
    of = f"{count(len(rare), 'rare class', 'rare classes')} ({held} % of the training pixels"
    of += ", together)" if len(rare) > 1 else ")"
    text = f"{_label(rival)}, {of}: {_gained_and_lost(summary, rival, rare)}."
    gains = _class_gains(rival)
    settled = [c for c in rare if gains[c].settled]
    if any(gains[c].n > 1 for c in rare):
        names = ", ".join(summary.comparison.classes[c] for c in settled) or "none of them"
        text += f" The 95 % interval excludes zero for {names}."
    return text


def _other_classes(summary: Summary, rival: MethodSummary) -> str:
    others = [c for c in summary.by_share if c not in summary.rare]
    if not others:
        return ""
    return (
        f"{_label(rival)}, the {count(len(others), 'other class', 'other classes')}: "
        f"{_gained_and_lost(summary, rival, others)}."
    )


def _gained_and_lost(summary: Summary, rival: MethodSummary, classes: Sequence[int]) -> str:
    """Sorted into gained, lost and unchanged as printed, so that words and table agree."""
    gains = _class_gains(rival)
    rounded = {c: round(1000 * gains[c].mean) for c in classes if gains[c].n}
    groups = (
        ("gained", sorted((c for c, r in rounded.items() if r > 0), key=lambda c: -gains[c].mean)),
        ("lost", sorted((c for c, r in rounded.items() if r < 0), key=lambda c: gains[c].mean)),
    )
    parts = [
        f"{len(members)} {verb} ("
        + ", ".join(f"{summary.comparison.classes[c]} {points(gains[c].mean)}" for c in members)
        + ")"
        for verb, members in groups
        if members
    ]
    unchanged = [summary.comparison.classes[c] for c, r in rounded.items() if r == 0]
    if unchanged:
        parts.append(f"{len(unchanged)} unchanged ({', '.join(unchanged)})")
    absent = [summary.comparison.classes[c] for c in classes if not gains[c].n]
    if absent:
        parts.append(f"{len(absent)} absent from the validation images ({', '.join(absent)})")
    return "; ".join(parts)


def _label(method: MethodSummary) -> str:
    return method.method.label


def _seeds(method: MethodSummary) -> str:
    return count(method.miou.n, "seed")


def _gain(rival: MethodSummary) -> Gain:
    assert rival.miou_gain is not None, "gains exist for every rival where there is a baseline"
    return rival.miou_gain


def _class_gains(rival: MethodSummary) -> tuple[Gain, ...]:
    assert rival.iou_gain is not None, "gains exist for every rival where there is a baseline"
    return rival.iou_gain
