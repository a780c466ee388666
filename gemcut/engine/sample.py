"""One reply under way in the engine, and the choosing of its next tokens."""

from dataclasses import dataclass, field

from gemcut.engine.job import Choice, Job
from gemcut.engine.progress import Key, Rows
from gemcut.engine.token_stream import TokenStream


@dataclass(eq=False, slots=True)
class Sample:
    """A sample under way.  slot: of the sampler, None while it has none."""

    job: Job
    choice: Choice
    stream: TokenStream
    slot: int | None = None


@dataclass(eq=False, slots=True)
class Choosing:
    """A sequence whose next tokens are being chosen.

    row: of the step's logits, behind its last known token; those behind its guesses follow.
    """

    key: Key
    rows: Rows
    sample: Sample
    slot: int
    row: int
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the latest token was the guess in its place, so that there are logits behind it."""
        place = len(self.tokens) - 1
        guesses = self.rows.ids[len(self.rows.ids) - self.rows.num_drafts :]
        return not self.ended and place < len(guesses) and guesses[place] == self.tokens[place]
