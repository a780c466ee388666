"""How what the package holds is made; not part of it."""
