"""Messages ↔ token ids: what the model reads, and what its reply means."""
