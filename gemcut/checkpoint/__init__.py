"""Files of a model on disk: found or downloaded, read, written."""
