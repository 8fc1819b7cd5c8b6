"""Networks of this project, as torch modules."""
