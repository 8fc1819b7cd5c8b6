"""Figures of the book, each a function from a table to axes."""

from umdbook.chapters.learned_gap.figures import (
    class_boxes,
    design_plot,
    diet_curves,
    domain_plot,
    effect_plot,
    withheld_plot,
)
from umdlib.figures.overview import failure_quadrants, forest, reported_beside_measured, slope_chart
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
from umdlib.figures.style import legend_below, line_handles, panels, segmenter_style, use_style

__all__ = [
    "bland_altman",
    "class_boxes",
    "click_plot",
    "coverage_plot",
    "design_plot",
    "diet_curves",
    "distributions",
    "domain_plot",
    "effect_plot",
    "error_rates",
    "excess_plot",
    "failure_quadrants",
    "forest",
    "legend_below",
    "line_handles",
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
    "withheld_plot",
]
