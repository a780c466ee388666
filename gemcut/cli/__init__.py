"""The command line: one file a command; each parses, calls `gemcut.api`, and prints."""
