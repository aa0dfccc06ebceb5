"""Numbers as they are printed, and the result in words, alike whichever method wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.statistics import (
    ECE,
    Gain,
    Gains,
    MethodSummary,
    Score,
    Summary,
    measures,
    t_quantile,
)

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
# So many classes are named in a sentence; further ones are counted.
NAMED = 8


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal, without the sign."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}"


def share(fraction: float) -> str:
    """A pixel share as percent with two significant digits below ten percent."""
    if math.isnan(fraction):
        return MISSING
    value = 100 * fraction
    digits = 1 if value >= 1 or value == 0 else min(6, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f}"


def with_std(score: Score) -> str:
    """Mean ± sample standard deviation; a single run shows no ±."""
    if math.isnan(score.std):
        return percent(score.mean)
    return f"{percent(score.mean)} ± {percent(score.std)}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, signed unless it rounds to 0."""
    if math.isnan(difference):
        return MISSING
    text = f"{100 * difference:+.1f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def interval(gain: Gain) -> str:
    """The bounds of the 95 % interval in points, or a dash with fewer than two pairs."""
    if math.isnan(gain.low):
        return MISSING
    low, high = gain.bounds
    return f"{points(low)} to {points(high)}"


def certainty(gain: Gain) -> str:
    """The interval below a gain; of two seeds both gains, as their interval says little."""
    if gain.n == 2:
        return "; ".join(points(value) for value in gain.by_seed.values())
    return interval(gain) if gain.n > 2 else ""


def number(value: float) -> str:
    """A parameter of the loss without needless digits."""
    return "\N{INFINITY}" if math.isinf(value) else f"{value:g}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if math.isnan(seconds):
        return MISSING
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 90 else f"{hours:.1f} h"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number and its noun."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def measure_name(name: str) -> str:
    """A measure in a table."""
    return f"{name} (less is better)" if name == ECE else name


@dataclass(frozen=True)
class Finding:
    """One statement: what it is about, and what was found."""

    lead: str
    text: str

    def __str__(self) -> str:
        return f"{self.lead}: {self.text}"


def headline(summary: Summary) -> str:
    """One sentence: the method ahead, its margin and the number of seeds."""
    best, baseline, lead, data = summary.best, summary.baseline, summary.lead, summary.data_name
    if len(summary.methods) == 1:
        return f"{best.label} reaches {percent(best.lead.mean)} {lead} on {data} ({_seeds(best)})."
    if baseline is None:
        second = max((m for m in summary.methods if m is not best), key=lambda m: m.lead.mean)
        return (
            f"{best.label} has the highest {lead} on {data}: {percent(best.lead.mean)} "
            f"({_seeds(best)}), against {percent(second.lead.mean)} of {second.label} "
            f"({_seeds(second)})."
        )
    paired = [(rival, rival.gains.lead) for rival in summary.rivals if rival.gains]
    rival, gain = max(paired, key=lambda pair: pair[1].mean if pair[1].n else -math.inf)
    if not gain.n:
        return (
            f"{rival.label} and {baseline.label} have no seed in common on {data}, "
            "so no gain can be given."
        )
    # The means of the paired seeds: their difference is the gain.
    own, base = (
        percent(fmean(measures(run)[lead] for run in m.method.runs if run.seed in gain.by_seed))
        for m in (rival, baseline)
    )
    settled = "" if gain.settled else "; not settled"
    figures = f"{own} against {base}, {count(gain.n, 'seed')}{settled}"
    return f"{_verdict(rival, baseline, gain, lead)} on {data} ({figures})."


def explanations(summary: Summary) -> dict[str, str]:
    """Each method in a line, by its label."""
    lines = {}
    for m in summary.methods:
        run = m.method.runs[0]
        line = run.known_method.text if run.known_method else ""
        loss = run.config.get("loss")
        if run.max_pooled and isinstance(loss, Mapping):
            p, least = loss.get("p"), loss.get("min_support")
            if isinstance(p, int | float | str) and isinstance(least, int | float):
                p_text = _scheduled(loss.get("p_schedule"), number) + number(float(p))
                m_text = _scheduled(loss.get("min_support_schedule"), share) + share(least)
                line += f" (p = {p_text}, on at least {m_text} % of the pixels)"
        if line:
            lines[m.label] = line
    return lines


def _scheduled(schedule: object, shown: Callable[[float], str]) -> str:
    """From where a parameter comes during training; empty for one that is constant."""
    if not isinstance(schedule, Mapping):
        return ""
    steps = schedule.get("steps")
    over = f" over {steps} steps" if steps else ""
    return f"{shown(float(schedule['start']))}, then {schedule['kind']}{over} to "


def findings(summary: Summary, method: MethodSummary) -> list[Finding]:
    """The result of a method against the baseline: certainty, rare classes, other classes."""
    baseline, gains = summary.baseline, method.gains
    if baseline is None or gains is None or not gains.lead.n:
        return []
    rare = summary.rare
    seen = [c for c in summary.by_share if summary.train_share[c] > 0]
    others = [c for c in seen if c not in rare]
    absent = [c for c in summary.by_share if c not in seen]
    held = share(math.fsum(summary.train_share[c] for c in rare))
    together = "together " if len(rare) > 1 else ""
    statements = [
        Finding(f"{method.label} against {baseline.label}", _certainty(gains.lead, summary.lead)),
        Finding(
            f"{count(len(rare), 'rare class', 'rare classes')} "
            f"({together}{held} % of the training pixels)",
            f"{_gained_and_lost(summary, gains, rare)}.{_settled_classes(summary, gains, rare)}",
        ),
    ]
    for members, lead in (
        (others, count(len(others), "other class", "other classes")),
        (absent, f"{count(len(absent), 'class', 'classes')} without a training pixel"),
    ):
        if members:
            statements.append(Finding(lead, f"{_gained_and_lost(summary, gains, members)}."))
    for name in summary.measures[1:]:
        own, base, gain = method.measures[name], baseline.measures[name], gains.measures[name]
        if name != "mIoU":
            text = (
                f"{percent(own.mean)} against {percent(base.mean)} ({points(gain.mean)})."
                if gain.n
                else f"{percent(own.mean)} against {percent(base.mean)}; without a value where "
                "nothing is predicted as the class."
            )
            lead = "Calibration error" if name == ECE else name[:1].upper() + name[1:]
            statements.append(Finding(lead, f"{text} Less is better." if name == ECE else text))
    return statements


def caveats(summary: Summary) -> list[str]:
    """Warnings on the comparison, e.g. unfinished runs; empty if there are none."""
    notes = [*_unfinished(summary), *_unequal_lengths(summary)]
    baseline = summary.baseline
    if baseline is None:
        notes.append(
            "No run of the baseline (method 'base') is finished, so no class has a gain over it."
        )
        return notes
    for rival in summary.rivals:
        assert rival.gains is not None, "every rival has gains where there is a baseline"
        common = rival.gains.lead.n
        if not common == rival.lead.n == baseline.lead.n:
            notes.append(
                f"{rival.label} and {baseline.label} did not finish the same seeds: gains are "
                f"over the {count(common, 'common seed')}, means over all finished ones."
            )
    return notes


def _unfinished(summary: Summary) -> list[str]:
    notes = []
    for run in summary.comparison.runs:
        if not run.finished:
            reached = f"at step {run.final.step}" if run.final else "before its first evaluation"
            notes.append(
                f"{run.label}, seed {run.seed}: {run.status} {reached}. "
                "It is listed with the runs and left out of every mean, gain and figure."
            )
    return notes


def _unequal_lengths(summary: Summary) -> list[str]:
    finished = [run for run in summary.comparison.runs if run.finished]
    if len({run.results.step for run in finished}) == 1:
        return []
    each = "; ".join(f"{run.label}, seed {run.seed}: {run.results.step}" for run in finished)
    return [f"The runs differ in length, so this is not like for like (steps: {each})."]


def _verdict(rival: MethodSummary, baseline: MethodSummary, gain: Gain, lead: str) -> str:
    if gain.points == 0:
        return f"{rival.label} and {baseline.label} are level in {lead}"
    amount = points(abs(gain.mean)).lstrip("+")
    if gain.settled:
        verb = "beats" if gain.mean > 0 else "loses to"
        return f"{rival.label} {verb} {baseline.label} by {amount} {lead} points"
    place = "ahead of" if gain.mean > 0 else "behind"
    return f"{rival.label} is {amount} {lead} points {place} {baseline.label}"


def _certainty(gain: Gain, lead: str) -> str:
    change = f"{points(gain.mean)} {lead} points"
    if gain.n == 1:
        return (
            f"{change} from a single seed. One pair of runs cannot tell an effect from the luck of "
            "a seed: the difference is not settled."
        )
    if gain.n == 2:
        change += f" ({' and '.join(points(value) for value in gain.by_seed.values())} by seed)"
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
    gained = [c for c in present if gains.iou[c].points > 0]
    lost = [c for c in present if gains.iou[c].points < 0]
    gained.sort(key=lambda c: -gains.iou[c].mean)
    lost.sort(key=lambda c: gains.iou[c].mean)
    parts = [
        f"{len(members)} {verb} ("
        + _named([f"{names[c]} {points(gains.iou[c].mean)}" for c in members])
        + ")"
        for verb, members in (("gained", gained), ("lost", lost))
        if members
    ]
    unchanged = [names[c] for c in present if gains.iou[c].points == 0]
    absent = [names[c] for c in classes if not gains.iou[c].n]
    for members, state in ((unchanged, "unchanged"), (absent, "without an IoU")):
        if members:
            listed = f" ({', '.join(members)})" if len(members) <= NAMED else ""
            parts.append(f"{len(members)} {state}{listed}")
    return ", ".join(parts)


def _named(members: Sequence[str]) -> str:
    """All of them, or the first few and how many follow."""
    if len(members) <= NAMED + 1:
        return ", ".join(members)
    return f"{', '.join(members[:NAMED])} and {len(members) - NAMED} more"


def _settled_classes(summary: Summary, gains: Gains, classes: Sequence[int]) -> str:
    if all(gains.iou[c].n < 2 for c in classes):
        return ""
    names = [summary.comparison.classes[c] for c in classes if gains.iou[c].settled]
    return f" The 95 % interval excludes zero for {_named(names) or 'none of them'}."


def _seeds(method: MethodSummary) -> str:
    return count(method.lead.n, "seed")
