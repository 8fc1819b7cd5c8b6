"""Importers: one module per layout found in the wild, each makes a `manifest.tsv`."""
