"""Figures of the book, each a function from a table to axes, which it returns.

`ax` is drawn on (None makes axes), `legend` puts one under the figure, and `looks` gives colour and marker of each
segmenter as `segmenter_style` does (by default of those shown).
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "links": ["add_targets", "case_address", "mark_words"],
        "narrow": ["narrow_form", "set_narrow"],
        "overview": ["failure_quadrants", "forest", "participant_flow", "slope_chart"],
        "pairs": ["bland_altman", "distributions", "paired_plot"],
        "stability": [
            "click_plot",
            "coverage_plot",
            "error_rates",
            "ranking_stability",
            "rule_plot",
            "variance_bars",
        ],
        "style": ["legend_below", "line_handles", "panels", "segmenter_style", "use_style"],
        "svg": ["chart_numbers", "is_drawing", "to_svg"],
        "training": ["loss_curves", "training_curves"],
    },
)
