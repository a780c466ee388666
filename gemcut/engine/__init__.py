"""From token ids to token ids: sampling and the generation loop."""
