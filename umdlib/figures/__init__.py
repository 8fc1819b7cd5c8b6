"""Figures of the book, each a function from a table to axes."""

from umdlib.figures.overview import (
    failure_quadrants,
    forest,
    reported_beside_measured,
    slope_chart,
)
from umdlib.figures.pairs import bland_altman, distributions, paired_plot
from umdlib.figures.stability import (
    click_plot,
    coverage_plot,
    error_rates,
    ranking_stability,
    rule_plot,
    variance_bars,
)
from umdlib.figures.style import legend_below, panels, segmenter_style, use_style
from umdlib.figures.trained import (
    class_boxes,
    design_plot,
    domain_plot,
    effect_plot,
    loss_curves,
)

__all__ = [
    "bland_altman",
    "class_boxes",
    "click_plot",
    "coverage_plot",
    "design_plot",
    "distributions",
    "domain_plot",
    "effect_plot",
    "error_rates",
    "failure_quadrants",
    "forest",
    "legend_below",
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
