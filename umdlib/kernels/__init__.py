"""Surfaces of structures on a voxel grid: their cells, areas and distances."""
