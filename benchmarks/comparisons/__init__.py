"""One module per family of systems: the official code and the adapter on the same network."""
