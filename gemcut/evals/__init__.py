"""Tasks and scorers: what a model is asked, and whether the reply is right."""
