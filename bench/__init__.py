"""Measurements of speed and memory; their figures go into docs/log.md."""
