"""Example images: truth, every method's prediction, and where the weights w* sit."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from lossmaxpool.report.comparison import Example, Run
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.scrolling import scrolling
from lossmaxpool.report.statistics import Summary

_PNG = b"\x89PNG\r\n\x1a\n"


def pictures(summary: Summary) -> list[Markup]:
    """The explanation, the legend of classes, and a strip of pictures per example image."""
    shown = [m.method.runs[0] for m in summary.methods]
    names = list(dict.fromkeys(example.name for run in shown for example in run.examples))
    if not names:
        return [element("p", "No example images were recorded.", class_="note")]
    seeds = sorted({run.seed for run in shown})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else "the first seed of each method"
    note = (
        "Heat maps show w* / τ, how much of the highest allowed weight loss max-pooling gives each "
        "pixel for that network's own losses: dark is 0, brightest is 1, at the cap. A method "
        "trained with another loss does not use these weights; its map shows what max-pooling "
        f"would ask of it. Networks at the end of training, {which}. Unlabelled pixels are black "
        "in the label maps."
    )
    return [
        element("p", note, class_="note"),
        _legend(summary),
        *(_strip(shown, name) for name in names),
    ]


def _legend(summary: Summary) -> Markup:
    comparison = summary.comparison
    return element(
        "ul",
        *(
            element("li", _swatch(comparison.colors[c]), comparison.classes[c])
            for c in summary.by_share
        ),
        element("li", _swatch((0, 0, 0)), "unlabelled"),
        class_="swatches",
    )


def _swatch(color: tuple[int, int, int]) -> Markup:
    red, green, blue = color
    return element("i", style=f"background:rgb({red},{green},{blue})")


def _strip(runs: list[Run], name: str) -> Markup:
    """Two rows that scroll together: image over truth, then prediction over weights per method."""
    found = [(run, example) for run in runs for example in run.examples if example.name == name]
    # The image and its truth are the same for every method: those of the first stand for all.
    first = found[0][1]
    columns = [
        _picture(first.image, "image", f"Image {name}"),
        _picture(first.truth, "ground truth", f"Ground truth of {name}"),
    ]
    for run, example in found:
        columns += _of_method(run, example)
    return element(
        "section",
        element("h3", name),
        scrolling(f"Pictures of {name}", *columns, class_="strip"),
    )


def _of_method(run: Run, example: Example) -> list[Markup]:
    label = run.label
    weights = f"{label}: weights"
    return [
        _picture(
            example.prediction, f"{label}: prediction", f"Prediction of {label} for {example.name}"
        ),
        _picture(example.weights, weights, f"Heat map of w*/τ of {label} on {example.name}"),
    ]


def _picture(path: Path | None, caption: str, alt: str) -> Markup:
    return element("figure", element("figcaption", caption), _embedded(path, alt))


def _embedded(path: Path | None, alt: str) -> Markup:
    """The picture inside the page; where there is none, the reason in its place."""
    if path is None:
        return element("p", "not recorded", class_="missing")
    try:
        content = path.read_bytes()
    except OSError:
        return element("p", f"{path.name} is missing", class_="missing")
    if not content.startswith(_PNG):
        return element("p", f"{path.name} is not a PNG", class_="missing")
    return element("img", src=f"data:image/png;base64,{b64encode(content).decode()}", alt=alt)
