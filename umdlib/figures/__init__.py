"""Figures of the book, each a function from a table to axes."""

from umdlib.figures.overview import (
    failure_quadrants,
    forest,
    reported_beside_measured,
    slope_chart,
)
from umdlib.figures.pairs import bland_altman, distributions, paired_plot
from umdlib.figures.references import excess_plot, loss_curves
from umdlib.figures.stability import (
    click_plot,
    coverage_plot,
    error_rates,
    ranking_stability,
    rule_plot,
    variance_bars,
)
from umdlib.figures.style import panels, segmenter_style, use_style

__all__ = [
    "bland_altman",
    "click_plot",
    "coverage_plot",
    "distributions",
    "error_rates",
    "excess_plot",
    "failure_quadrants",
    "forest",
    "loss_curves",
    "paired_plot",
    "panels",
    "ranking_stability",
    "reported_beside_measured",
    "rule_plot",
    "segmenter_style",
    "slope_chart",
    "use_style",
    "variance_bars",
]
