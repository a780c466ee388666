"""Training: examples in, better weights out."""
