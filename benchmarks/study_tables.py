"""Tables of studies in Markdown: scores, paired gains, rates tried, power, and settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.comparing import (
    Condition,
    Record,
    by_p_and_m,
    couples,
    f1,
    finals,
    gains,
    groups,
    half_width,
    measure,
    named,
    reference,
    score,
    seeds_needed,
    settled_gain,
)
from lossmaxpool.report.wording import count, points

# The spread that was known before the other studies were planned: that of version 0.1.0.
KNOWN_BEFORE = ("camvid-methods",)
# Methods with loss max-pooling, and the sampler alone.
_OWN = ("base+", "loss-only", "lmp", "dice-lmp", "dice-lmp+")
# Results of studies by name.
Studies = Mapping[str, Mapping[str, Any]]


def command(name: str) -> str:
    """Return the command that repeats a study; scenes are drawn and need no data."""
    data = "" if name.startswith("scenes-") else " --data data"
    return f"python -m benchmarks.studies {name}{data} --out runs/studies"


def scores_table(content: Mapping[str, Any]) -> str:
    """The final scores of every method, and their paired gains."""
    parts, over = groups(content["records"]), content["over"]
    told = measure(content["records"][0])
    head = ["part", "method", "lr", "runs", told, "F1", "precision", "recall",
            f"{told} over {over or 'BASE'}", "95 % interval", "last quarter",
            "CPU s / step"]  # fmt: skip
    rows = [
        [part.variant, *_row(part, runs, reference(parts, part, over), content["folds"])]
        for part, runs in parts.items()
    ]
    # One rate, or one variant, for all needs no column, nor does what no row has.
    columns = [{row[k] for row in rows} for k in range(len(head))]
    shown = [
        k
        for k, cells in enumerate(columns)
        if any(cells) and (len(cells) > 1 or head[k] not in ("part", "lr"))
    ]
    marks = [":--" if head[k] in ("part", "method") else "--:" for k in shown]
    lines = [[row[k] for k in shown] for row in (head, *rows)]
    lines.insert(1, marks)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(
    part: Condition, runs: Mapping[int, Record], over: Mapping[int, Record], folds: int
) -> list[str]:
    some = next(iter(runs.values()))
    classes = some["classes"]
    dice = [f1(run["evaluations"][-1], classes) for run in runs.values()]
    gain, bounds = _gain(gains(runs, over), folds)
    steps = some["config"]["optimization"]["steps"]
    costs = [run["cost"]["cpu_seconds"] / steps for run in runs.values() if run.get("cost")]
    return [
        named(part, runs),
        f"{some['config']['optimization']['lr']:g}",
        str(len(runs)),
        _mean(runs),
        f"{fmean(dice):.1f}",
        *(_foreground(runs.values(), name) for name in ("precision", "recall")),
        gain,
        bounds,
        _last_quarter(runs),
        f"{min(costs):.2f}" if costs else "",
    ]


def _mean(runs: Mapping[int, Record]) -> str:
    """The final score, and its standard deviation over the runs."""
    return _with_spread(finals(runs))


def _with_spread(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}"


def _foreground(runs: Iterable[Record], name: str) -> str:
    """The mean of a score over the classes but the background, and the runs; empty without one."""
    values = [
        value
        for run in runs
        if run["classes"][0] == "background"
        for value in run.get(name, [])[1:]
        if value is not None
    ]
    return f"{100 * fmean(values):.1f}" if values else ""


def _gain(pairs: Sequence[float], folds: int) -> tuple[str, str]:
    """The mean of paired differences, with a star where it is settled, and its 95 % interval."""
    if not pairs:
        return "", ""
    middle, half = fmean(pairs), half_width(pairs, folds)
    if math.isnan(half):
        return _signed(middle), ""
    star = r"\*" if abs(middle) > half else ""
    return _signed(middle) + star, f"{_signed(middle - half)} to {_signed(middle + half)}"


def _last_quarter(runs: Mapping[int, Record]) -> str:
    """The mean change of the score from the evaluation nearest to three quarters of the steps."""
    changes = []
    for run in runs.values():
        start = 0.75 * run["config"]["optimization"]["steps"]
        at = min(run["evaluations"], key=lambda evaluation: abs(evaluation["step"] - start))
        end = score(run["evaluations"][-1], run["classes"])
        changes.append(end - score(at, run["classes"]))
    return _signed(fmean(changes))


def _signed(value: float) -> str:
    return points(value / 100)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def power_analysis(studies: Studies) -> dict[str, dict[str, dict[str, float]]]:
    """Return by study and method the spread of the paired gains over BASE, and its consequences.

    These are the runs that settle 2 points, which folds of one data set cannot provide, and the
    smallest gain that the runs there are settle.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, content in studies.items():
        # Wrong labels and schedules do not have the usual spread.
        if content["over"] or any(map(_wrong, content["records"])):
            continue
        parts, folds = groups(content["records"]), content["folds"]
        for part, runs in parts.items():
            pairs = gains(runs, reference(parts, part, ""))
            if len(pairs) > 1:
                spread = max(stdev(pairs), 0.05)
                found.setdefault(name, {})[_name(part, runs)] = {
                    "pairs": len(pairs),
                    "spread": spread,
                    **({} if folds else {"runs for 2 points": seeds_needed(spread)}),
                    "settles": settled_gain(spread, len(pairs), folds),
                }
    return found


def _wrong(record: Record) -> bool:
    return bool(record.get("wrong"))


def _name(part: Condition, runs: Mapping[int, Record]) -> str:
    return f"{named(part, runs)} ({part.variant})" if part.variant else named(part, runs)


def power_table(studies: Studies, before: bool) -> str:
    """The spread that was known, and the runs it asks for; or that found since, which settles."""
    key, told = ("runs for 2 points", "runs") if before else ("settles", "gain that is settled")
    rows = []
    for name, methods in power_analysis(studies).items():
        if (name in KNOWN_BEFORE) == before:
            each = list(methods.values())
            pairs, spreads, ends = ([one[k] for one in each] for k in ("pairs", "spread", key))
            rows.append([name, str(len(each)), _range(pairs, 0), _range(spreads, 1),
                         _range(ends, 0 if before else 1)])  # fmt: skip
    return _table(["study", "methods over BASE", "pairs", "standard deviation", told], rows)


def _range(values: Sequence[float], digits: int) -> str:
    """The least and the greatest of some values, once where they read alike."""
    ends = (f"{end(values):.{digits}f}" for end in (min, max))
    return " to ".join(dict.fromkeys(ends))


def _together(pairs: Sequence[float], folds: int) -> str:
    """A gain and its interval in one cell."""
    gain, bounds = _gain(pairs, folds)
    return f"{gain} ({bounds})" if bounds else gain or "–"


def pairs_table(content: Mapping[str, Any]) -> str:
    """The methods with loss max-pooling, and the sampler alone, over each other one but BASE.

    Every pair is there once.
    """
    parts, folds = groups(content["records"]), content["folds"]
    own = [part for part in parts if part.method in _OWN]
    rows = [
        [
            _name(other, runs),
            *(
                "–" if other in own[k:] else _together(gains(parts[part], runs), folds)
                for k, part in enumerate(own)
            ),
        ]
        for other, runs in parts.items()
        if other.method != "base" and other not in own[-1:]
    ]
    told = measure(content["records"][0])
    return _table([f"{told} over", *(_name(part, parts[part]) for part in own)], rows)


def classes_table(content: Mapping[str, Any]) -> str:
    """The IoU of every class with BASE, and what the other methods gain, in points."""
    parts, names = groups(content["records"]), content["records"][0]["classes"]
    base = parts[Condition("", "base")]
    others = [(_name(part, runs), runs) for part, runs in parts.items() if runs is not base]
    pixels = next(iter(base.values()))["train_pixels"]
    rows = []
    for c in sorted(range(len(names)), key=lambda c: -pixels[c]):
        own, *rest = (
            {seed: 100 * run["iou"][c] for seed, run in runs.items()}
            for runs in (base, *(runs for _, runs in others))
        )
        cells = (
            _gain([each[seed] - own[seed] for seed in each if seed in own], content["folds"])[0]
            for each in rest
        )
        share = f"{100 * pixels[c] / sum(pixels):.2g}"
        rows.append([names[c], share, _with_spread(list(own.values())), *cells])
    return _table(["class", "% of the pixels", "BASE", *(name for name, _ in others)], rows)


def halves_table(studies: Studies) -> str:
    """The gains of the loss with and without the sampler, and of the sampler with either loss."""
    rows = []
    for study, content in studies.items():
        parts = groups(content["records"])
        each = [parts.get(Condition("", name)) for name in ("base", "base+", "loss-only", "lmp")]
        if all(each):
            base, sampled, loss, both = (runs or {} for runs in each)
            compared = ((loss, base), (both, sampled), (sampled, base), (both, loss))
            cells = [_together(gains(*pair), content["folds"]) for pair in compared]
            rows.append([study, measure(content["records"][0]), *cells])
    head = ["study", "score", "the loss, without the sampler", "the loss, with the sampler",
            "the sampler, with cross-entropy", "the sampler, with the loss"]  # fmt: skip
    return _table(head, rows)


def again_table(studies: Studies, first: str, again: str) -> str:
    """The final scores of BASE and LMP in a study, in its repetition by other seeds, and in both.

    Raises:
        ValueError: A seed is in both.
    """
    rows: list[list[str]] = []
    both: dict[str, dict[int, Record]] = {"base": {}, "lmp": {}}
    for name in (first, again):
        parts = groups(studies[name]["records"])
        runs = {method: parts[Condition("", method)] for method in both}
        if both["base"].keys() & runs["base"].keys():
            raise ValueError(f"{again} repeats seeds of {first}: its runs are not new ones")
        rows.append([name, *_base_and_lmp(runs)])
        both = {method: {**both[method], **runs[method]} for method in both}
    rows.append(["both", *_base_and_lmp(both)])
    return _table(["study", "runs", "BASE", "LMP", "LMP over BASE", "each seed"], rows)


def _base_and_lmp(runs: Mapping[str, Mapping[int, Record]]) -> list[str]:
    pairs = gains(runs["lmp"], runs["base"])
    each = ", ".join(_signed(pair) for pair in pairs)
    return [str(len(pairs)), _mean(runs["base"]), _mean(runs["lmp"]), _together(pairs, 0), each]


def sampler_table(content: Mapping[str, Any]) -> str:
    """The gain of every loss by the sampler, and of loss max-pooling over it either way."""
    parts, folds = groups(content["records"]), content["folds"]
    own = [parts[Condition("", name)] for name in ("loss-only", "lmp")]
    rows = []
    for couple in couples(parts):
        alone, both = (parts[one] for one in couple)
        over = [
            "–" if runs is pooled else _together(gains(pooled, runs), folds)
            for runs, pooled in zip((alone, both), own, strict=True)
        ]
        sampler = _together(gains(both, alone), folds)
        rows.append([named(couple[0], alone), _mean(alone), _mean(both), sampler, *over])
    told = measure(content["records"][0])
    head = ["loss", told, "with the sampler", "the sampler gains", "LMP (loss only) over it",
            "LMP over it with the sampler"]  # fmt: skip
    return _table(head, rows)


def p_and_m_table(content: Mapping[str, Any]) -> str:
    """The gain of every p and m over the mean with the same sampler, and over the paper's."""
    parts, folds = groups(content["records"]), content["folds"]
    pooled = by_p_and_m(parts, ("lmp",))
    mean, usual = parts[Condition("", "base+")], pooled[1.3, 0.25]
    rows = [
        [f"{p:g}", f"{m:g}", _mean(runs), _together(gains(runs, mean), folds),
         "–" if runs is usual else _together(gains(runs, usual), folds)]
        for (p, m), runs in sorted(pooled.items())
    ]  # fmt: skip
    told = measure(content["records"][0])
    return _table(["p", "m / n", told, "over BASE+", "over p = 1.3, m / n = 0.25"], rows)


def tuning_table(content: Mapping[str, Any]) -> str:
    """The scores of the rates that every method tried, the one it took in bold."""
    parts = groups(content["records"])
    rates = sorted({
        lr for one in content["tuning"].values() for tried in one["tried"].values()
        for lr, _ in tried
    })  # fmt: skip
    rows, edges = [], []
    for part, runs in parts.items():
        tried = dict(content["tuning"][part.variant]["tried"][part.method])
        taken = next(iter(runs.values()))["config"]["optimization"]["lr"]
        cells = ["–" if (one := tried.get(lr)) is None else f"{100 * one:.1f}" for lr in rates]
        rows.append([_name(part, runs)] + [
            f"**{cell}**" if lr == taken else cell for lr, cell in zip(rates, cells, strict=True)
        ])  # fmt: skip
        if taken in (min(tried), max(tried)):
            edges.append(f"{rows[-1][0]} ({taken:g})")
    some = next(iter(content["tuning"].values()))
    edge = f"at the edge of those tried: {', '.join(edges)}" if edges else "none is at the edge"
    return (
        f"{_table(['rate', *(f'{lr:g}' for lr in rates)], rows)}\n\n"
        f"mIoU in percent, over all classes, after {some['steps']} steps, on "
        f"{100 * some['held_out']:.0f} % of the training images, held out from the rest; the rate "
        f"that was taken is bold, and {edge}."
    )


def setting(study: str, content: Mapping[str, Any]) -> str:
    """How, when and with what a study was run."""
    records = content["records"]
    (threads, device, torch), *others = {
        tuple(record["environment"][key] for key in ("threads", "device", "torch"))
        for record in records
    }
    if others:
        raise ValueError(f"the runs of {study} are of several machines or versions: repeat them")
    versions = sorted({record["environment"]["lossmaxpool"] for record in records})
    days = sorted({record["environment"]["date"][:10] for record in records})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    runs = count(len(records), "run")
    planned = content.get("planned", len(records))
    left = "" if planned == len(records) else f" of {planned} (the others are not finished)"
    hours = f"{_hours(record['seconds'] for record in records)} in all"
    if search := content.get("tuning"):
        spent = _hours(one["seconds"] for one in search.values())
        hours = f"{hours}, after {spent} of search for their learning rates"
    today, then = command(study), content["command"]
    backends = {record.get("cost", {}).get("backend") for record in records} - {None, "native"}
    slower = f" Loss max-pooling by: {', '.join(sorted(backends))}." if backends else ""
    older = (
        f" Made with an older command, `{then}`, and not repeated since." if then != today else ""
    )
    return (
        f"`{today}`, {when}: {runs}{left}, {hours}, each with {count(threads, 'thread')} of "
        f"{device}, lossmaxpool {' and '.join(versions)}, torch {torch}.{slower}{older}"
    )


def _hours(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 3600:.1f} hours"
