"""Figures 1 to 4 of Rota Bulò et al. 2017, drawn from numbers and run folders."""

from lossmaxpool.report.paper_figures.evolution import Strip, evolution_figure, evolution_strips
from lossmaxpool.report.paper_figures.pixel_gains import PixelGains, pixel_gain_figure, pixel_gains
from lossmaxpool.report.paper_figures.weighting_set import weighting_set_figure
from lossmaxpool.report.paper_figures.weightings import Weightings, weightings_figure

__all__ = [
    "PixelGains",
    "Strip",
    "Weightings",
    "evolution_figure",
    "evolution_strips",
    "pixel_gain_figure",
    "pixel_gains",
    "weighting_set_figure",
    "weightings_figure",
]
