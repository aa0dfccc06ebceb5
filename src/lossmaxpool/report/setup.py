"""What was run, how long it took, and how the runs were configured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lossmaxpool.report.comparison import Run
from lossmaxpool.report.formats import MISSING, duration, percent
from lossmaxpool.report.markup import Child, Markup, element, join
from lossmaxpool.report.scrolling import scrolling
from lossmaxpool.report.statistics import Summary

COMMAND = "command"
# Told run by run already.
PER_RUN = (COMMAND, "date")


def runs(summary: Summary) -> Markup:
    """One row per run folder, the unfinished ones included."""
    heads = ("method", "seed", "status", "steps", "mIoU", "pixel accuracy", "time", "date")
    return scrolling(
        "Runs",
        element(
            "table",
            element("thead", _cells("th", heads)),
            element("tbody", *(_run(run) for run in summary.comparison.runs)),
            class_="plain",
        ),
    )


def commands(summary: Summary) -> Markup | None:
    """The command line of every run that recorded it."""
    lines = [
        _shown(run.environment[COMMAND])
        for run in summary.comparison.runs
        if COMMAND in run.environment
    ]
    if not lines:
        return None
    listing = element("code", "\n".join(dict.fromkeys(lines)))
    return join([element("h3", "Commands"), element("pre", listing, tabindex="0")])


def settings(summary: Summary) -> list[Markup]:
    """Configuration and environment: what differs between methods first, then what all share."""
    configuration = _by_method(summary, lambda run: run.config)
    environment = _by_method(
        summary, lambda run: {k: v for k, v in run.environment.items() if k not in PER_RUN}
    )
    everything = configuration | environment
    differing = {key: values for key, values in everything.items() if len(set(values)) > 1}
    labels = [m.method.label for m in summary.methods]
    return [
        element("h3", "What differs between the methods"),
        _table(["setting", *labels], differing)
        if differing
        else element("p", "Nothing in their configuration or environment.", class_="note"),
        element("h3", "Environment"),
        _table(["setting", "all methods"], _shared(environment)),
        element("h3", "Configuration"),
        _table(["setting", "all methods"], _shared(configuration)),
    ]


def _run(run: Run) -> Markup:
    return _cells(
        "td",
        (
            run.label,
            str(run.seed),
            element("span", run.status, class_="status" if run.finished else "status bad"),
            str(run.final.step) if run.final else MISSING,
            percent(run.final.miou) if run.final else MISSING,
            percent(run.final.pixel_accuracy) if run.final else MISSING,
            duration(run.seconds),
            _date(run),
        ),
    )


def _date(run: Run) -> str:
    return _shown(run.environment.get("date", MISSING)).replace("T", " ").replace("+00:00", " UTC")


def _by_method(
    summary: Summary, settings_of: Callable[[Run], Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """One text per setting and method: its values over the seeds, each named once."""
    flat = [[_flat(settings_of(run)) for run in m.method.runs] for m in summary.methods]
    keys = dict.fromkeys(key for of_method in flat for one in of_method for key in one)
    return {
        key: tuple(
            " · ".join(dict.fromkeys(one.get(key, MISSING) for one in of_method))
            for of_method in flat
        )
        for key in keys
    }


def _shared(by_method: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {key: values[:1] for key, values in by_method.items() if len(set(values)) == 1}


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names, the way they are given on a command line."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _shown(value)
    return flat


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(heads: list[str], rows: dict[str, tuple[str, ...]]) -> Markup:
    body = (
        element(
            "tr",
            element("th", key, scope="row"),
            *(element("td", value) for value in values),
        )
        for key, values in rows.items()
    )
    return scrolling(
        "Settings",
        element(
            "table",
            element("thead", _cells("th", heads)),
            element("tbody", *body),
            class_="plain settings",
        ),
    )


def _cells(tag: str, contents: tuple[Child, ...] | list[str]) -> Markup:
    scope = "col" if tag == "th" else None
    return element("tr", *(element(tag, content, scope=scope) for content in contents))
