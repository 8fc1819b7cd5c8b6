"""Anatomy: a person as label maps and tissues."""
