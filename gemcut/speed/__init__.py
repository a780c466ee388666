"""How fast a model is here, beside what the machine allows and beside other programs: `gemcut bench`."""
