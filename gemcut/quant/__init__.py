"""Weights in blocks of int4 and int8: which, as parts of a model, and on the way into files."""
