"""Weights and mathematics of the models, nothing else."""
