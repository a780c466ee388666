"""`python -m gemcut` is `gemcut`."""

from gemcut.cli.main import main

if __name__ == "__main__":
    main()
