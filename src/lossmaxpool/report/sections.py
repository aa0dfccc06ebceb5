"""The sections of the page, in reading order."""

from __future__ import annotations

from lossmaxpool.report.class_figure import class_figure
from lossmaxpool.report.curve_figure import PARTS, cross_entropy_figure, miou_figure
from lossmaxpool.report.drawing import key
from lossmaxpool.report.gain_figure import gain_figure
from lossmaxpool.report.markup import Child, Markup, element
from lossmaxpool.report.pairwise import further_pairs, pair_table
from lossmaxpool.report.pictures import pictures
from lossmaxpool.report.score_table import score_table
from lossmaxpool.report.setup import commands, runs, settings
from lossmaxpool.report.statistics import MethodSummary, Summary
from lossmaxpool.report.wording import caveats, findings, headline

# A figure is drawn twice, for a phone and for a screen, because text in a drawing shrinks with it.
NARROW, WIDE = 360, 840


def sections(summary: Summary, title: str) -> list[Markup]:
    """Every section of the page."""
    parts = [
        _result(summary, title),
        _pairs(summary),
        _section("IoU per class", *score_table(summary)),
        _gains(summary),
        _classes(summary),
        _curves(summary),
        _pictures(summary),
        _section("Runs and settings", runs(summary), commands(summary), *settings(summary)),
    ]
    return [part for part in parts if part]


def _result(summary: Summary, title: str) -> Markup:
    data = summary.comparison.data
    return element(
        "header",
        element("p", title, class_="kicker"),
        element("h1", headline(summary)),
        *(element("p", text, class_="caveat") for text in caveats(summary)),
        *(_findings(summary, m) for m in summary.rivals if m.gains and m.gains.miou.n),
        element(
            "p",
            f"Trained on {data.train_images} images ({data.train_split}), evaluated on "
            f"{data.val_images} ({data.val_split}) of {data.name}. All scores are those of the "
            "network after the last step (last.ckpt).",
            class_="note",
        ),
    )


def _findings(summary: Summary, method: MethodSummary) -> Markup:
    """All of them for a single rival; of several, the first of each, and the others on demand."""
    first, *others = [
        (element("b", f"{finding.lead}:"), f" {finding.text}")
        for finding in findings(summary, method)
    ]
    if len(summary.rivals) == 1:
        items = (element("li", *each) for each in (first, *others))
        return element("ul", *items, class_="findings")
    listed = element("ul", *(element("li", *each) for each in others), class_="findings")
    return element("details", element("summary", *first), listed, class_="findings")


def _pairs(summary: Summary) -> Markup | None:
    shown = further_pairs(summary)
    if not shown:
        return None
    return _section("Every method against every other", *pair_table(summary, shown))


def _gains(summary: Summary) -> Markup | None:
    rivals = [m for m in summary.rivals if m.gains and m.gains.miou.n]
    if not rivals or summary.baseline is None:
        return None
    base = summary.baseline.method.label
    single = all(m.gains and m.gains.miou.n == 1 for m in rivals)
    figures: list[Child] = []
    for m in rivals:
        caption = f"{m.method.label} against {base}"
        figures.append(
            element(
                "figure",
                element("figcaption", caption),
                gain_figure(summary, m, NARROW, 340, "narrow"),
                gain_figure(summary, m, WIDE, 400, "wide"),
            )
        )
    span = "" if single else " Thin bars span the seeds."
    return _section(
        "Gain against class frequency",
        element(
            "p",
            f"Each point is a class: above the zero line it gained over {base}, and the further "
            f"left, the fewer training pixels it has. The rare ones stand on tinted ground.{span}",
            class_="note",
        ),
        *figures,
    )


def _classes(summary: Summary) -> Markup:
    return _section(
        "All classes, all methods",
        element(
            "p",
            "IoU in percent, most frequent class first, the rare ones on tinted ground."
            + (
                " Small dots are single seeds."
                if any(m.miou.n > 1 for m in summary.methods)
                else ""
            ),
            class_="note",
        ),
        _legend(summary),
        element(
            "figure", class_figure(summary, NARROW, "narrow"), class_figure(summary, WIDE, "wide")
        ),
    )


def _curves(summary: Summary) -> Markup:
    return _section(
        "Learning curves",
        element(
            "p",
            "Lines are means over seeds, bands run from the lowest to the highest seed. The "
            "cross-entropy is the plain mean for every method, whatever it minimises; a long curve "
            f"is averaged over {PARTS} stretches.",
            class_="note",
        ),
        _legend(summary),
        element(
            "div",
            element("figure", miou_figure(summary)),
            element("figure", cross_entropy_figure(summary)),
            class_="pair",
        ),
    )


def _pictures(summary: Summary) -> Markup:
    return _section("Where the weights sit", *pictures(summary))


def _legend(summary: Summary) -> Markup:
    return element(
        "p",
        *(element("span", key(index), m.method.label) for index, m in enumerate(summary.methods)),
        class_="legend",
    )


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)
