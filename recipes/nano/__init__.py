"""The embedded model nano: its text, its vocabulary, its training, its measure."""
