"""The sections of the page, in reading order."""

from __future__ import annotations

from lossmaxpool.report.formats import duration, points, share, with_std
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.statistics import Gain, Score, Summary
from lossmaxpool.report.wording import caveats, findings, headline


def sections(summary: Summary, title: str) -> list[Markup]:
    """Every section of the page."""
    return [_result(summary, title), _scores(summary), _runs(summary)]


def _result(summary: Summary, title: str) -> Markup:
    return element(
        "header",
        element("p", title, class_="kicker"),
        element("h1", headline(summary)),
        element("ul", *(element("li", text) for text in findings(summary))),
        *(element("p", text, class_="caveat") for text in caveats(summary)),
    )


def _scores(summary: Summary) -> Markup:
    rows = [
        element(
            "tr",
            element("th", summary.comparison.classes[c], scope="row"),
            element("td", share(summary.train_share[c])),
            *(
                cell
                for m in summary.methods
                for cell in _cells(m.iou[c], m.iou_gain[c] if m.iou_gain else None)
            ),
        )
        for c in summary.by_share
    ]
    return element(
        "section",
        element("h2", "IoU per class"),
        element("div", element("table", element("tbody", *rows)), class_="scroll"),
    )


def _cells(score: Score, gain: Gain | None) -> list[Markup]:
    cells = [element("td", with_std(score))]
    if gain is not None:
        cells.append(element("td", points(gain.mean)))
    return cells


def _runs(summary: Summary) -> Markup:
    return element(
        "section",
        element("h2", "Runs"),
        element(
            "ul",
            *(
                element("li", f"{r.label}, seed {r.seed}: {r.status}, {duration(r.seconds)}")
                for r in summary.comparison.runs
            ),
        ),
    )
