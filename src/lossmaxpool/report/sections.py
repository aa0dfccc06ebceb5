"""The sections of the page, in reading order."""

from __future__ import annotations

from lossmaxpool.report.class_figure import class_figure
from lossmaxpool.report.curve_figure import PARTS, cross_entropy_figure, miou_figure
from lossmaxpool.report.drawing import canvas, color, marker
from lossmaxpool.report.formats import interval, points, share, with_std
from lossmaxpool.report.gain_figure import gain_figure
from lossmaxpool.report.markup import Child, Markup, element, join
from lossmaxpool.report.pictures import pictures
from lossmaxpool.report.scrolling import scrolling
from lossmaxpool.report.setup import commands, runs, settings
from lossmaxpool.report.statistics import Gain, MethodSummary, Score, Summary
from lossmaxpool.report.wording import caveats, findings, headline

# A figure is drawn twice, for a phone and for a screen, because text in a drawing shrinks with it.
NARROW, WIDE = 360, 840


def sections(summary: Summary, title: str) -> list[Markup]:
    """Every section of the page."""
    parts = [
        _result(summary, title),
        _scores(summary),
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
        *(_findings(summary, m) for m in summary.rivals if findings(summary, m)),
        element(
            "p",
            f"Trained on {data.train_images} images ({data.train_split}), evaluated on "
            f"{data.val_images} ({data.val_split}) of {data.name}.",
            class_="note",
        ),
    )


def _findings(summary: Summary, method: MethodSummary) -> Markup:
    return element(
        "ul", *(element("li", text) for text in findings(summary, method)), class_="findings"
    )


def _scores(summary: Summary) -> Markup:
    paired = any(m.gains and m.gains.miou.n > 1 for m in summary.methods)
    seeds = max(m.miou.n for m in summary.methods)
    spread = " ± sample standard deviation over seeds" if seeds > 1 else ""
    explanation = f"IoU in percent{spread}. Classes by their share of the training pixels."
    if summary.baseline:
        explanation += " Gains are differences to BASE with the same seed, in points"
        explanation += (
            "; in bold where the 95 % t-interval below them excludes zero. "
            "Of twenty such intervals, one excludes zero by chance."
            if paired
            else "."
        )
    table = element(
        "table",
        element("thead", _head(summary)),
        element("tbody", *(_class_row(summary, c) for c in summary.by_share)),
        element(
            "tfoot",
            _row("mIoU", "", [(m.miou, m.gains.miou if m.gains else None) for m in summary.methods]),
            _row(
                "pixel accuracy",
                "",
                [(m.pixel_accuracy, m.gains.pixel_accuracy if m.gains else None) for m in summary.methods],
            ),
        ),
        class_="scores",
    )
    return _section(
        "IoU per class", element("p", explanation, class_="note"), scrolling("IoU per class", table)
    )


def _head(summary: Summary) -> Markup:
    cells = [element("th", "class", scope="col"), element("th", "share %", scope="col")]
    for index, m in enumerate(summary.methods):
        cells.append(element("th", _key(index), m.method.label, scope="col"))
        if m.gains:
            cells.append(element("th", "gain", scope="col"))
    return element("tr", *cells)


def _class_row(summary: Summary, c: int) -> Markup:
    name = join(
        [summary.comparison.classes[c], element("span", "rare", class_="tag")]
        if c in summary.rare
        else [summary.comparison.classes[c]],
        " ",
    )
    measured = [(m.iou[c], m.gains.iou[c] if m.gains else None) for m in summary.methods]
    return _row(name, share(summary.train_share[c]), measured)


def _row(name: str, held: str, measured: list[tuple[Score, Gain | None]]) -> Markup:
    cells = [element("th", name, scope="row"), element("td", held, class_="quiet")]
    for score, gain in measured:
        cells.append(element("td", with_std(score)))
        if gain is not None:
            amount = element("b" if gain.settled else "span", points(gain.mean))
            bounds = element("small", interval(gain)) if gain.n > 1 else None
            cells.append(element("td", amount, bounds, class_="gain"))
    return element("tr", *cells)


def _gains(summary: Summary) -> Markup | None:
    rivals = [m for m in summary.rivals if m.gains and m.gains.miou.n]
    if not rivals:
        return None
    single = all(m.gains and m.gains.miou.n == 1 for m in rivals)
    figures: list[Child] = []
    for m in rivals:
        caption = f"{m.method.label} against BASE"
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
            "Each point is a class: above the zero line it gained over BASE, and the further left, "
            f"the fewer training pixels it has.{span}",
            class_="note",
        ),
        *figures,
    )


def _classes(summary: Summary) -> Markup:
    return _section(
        "All classes, all methods",
        element(
            "p",
            "IoU in percent, most frequent class first. Small dots are single seeds.",
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
            "cross-entropy is the plain mean for every method, whatever it minimises, averaged "
            f"over {PARTS} equal parts of the training.",
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
        *(element("span", _key(index), m.method.label) for index, m in enumerate(summary.methods)),
        class_="legend",
    )


def _key(method: int) -> Markup:
    """The mark of a method, small enough to stand in a line of text."""
    return canvas(14, 12, None, marker(method, 7, 6), class_=f"key {color(method)}")


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)
