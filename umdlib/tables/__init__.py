"""Tables of the book: estimates laid out, marked, written."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "ceilings": ["beside_scores", "ceilings_layout", "columns", "kinds_words"],
        "exports": ["export"],
        "markdown": [
            "comparison_table",
            "count",
            "gap_text",
            "interval",
            "laid_out",
            "markdown_table",
            "number",
            "numbered_table",
            "p_text",
            "reason_table",
            "reasons",
            "to_markdown",
            "with_footnotes",
        ],
        "modality_table": [
            "CORRECTIONS",
            "MARKS",
            "metric_title",
            "modality_table",
            "session_title",
            "structure_title",
        ],
        "titles": ["segmenter_title", "use_titles"],
        "training": ["cost_layout"],
        "verdicts": ["INTERVAL_RULE", "reachable_words", "sentences", "verdict_legend"],
    },
)
