"""Scripts that run inside the environments of external systems; nothing here imports umdlib."""
