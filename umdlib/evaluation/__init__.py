"""Evaluation: a cohort through a segmenter, case by case."""
