"""Viewers and pictures of single cases."""
