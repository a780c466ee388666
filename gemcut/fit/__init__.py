"""What a machine can run: which sizes fit in which precision, with how much context, and how fast."""
