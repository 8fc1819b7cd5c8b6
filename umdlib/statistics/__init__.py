"""Statistics of paired scores."""
