"""How good the sizes are at what: published figures, copied, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass

from gemcut.family import Input

REPORT = "https://arxiv.org/abs/2607.02770v2"  # Gemma 4 Technical Report, tables 4 to 8 and 12; thinking


@dataclass(frozen=True, kw_only=True)
class Score:
    """One benchmark.

    task: what it stands for.  by_size: percent, by the sizes' names.  lower: whether less is better.
    takes: the kind of input that it needs.  context: tokens that it needs.
    """

    task: str
    benchmark: str
    by_size: Mapping[str, float]
    lower: bool = False
    takes: Input = "text"
    context: int = 0
    source: str = REPORT

    def best(self, names: frozenset[str]) -> str | None:
        """The one of these sizes that is best at it; None where no score of theirs is published."""
        known = {name: score for name, score in self.by_size.items() if name in names}
        if not known:
            return None
        return min(known, key=lambda name: known[name] if self.lower else -known[name])


def _of(b31: float, a4b: float, b12: float, e4b: float, e2b: float) -> Mapping[str, float]:
    """In the order of the report's tables."""
    return {"31b": b31, "26b": a4b, "12b": b12, "e4b": e4b, "e2b": e2b}


SCORES = (
    Score(task="knowledge", benchmark="MMLU Pro", by_size=_of(85.2, 82.6, 77.2, 69.4, 60.0)),
    Score(task="mathematics", benchmark="AIME 2026", by_size=_of(89.2, 88.3, 77.5, 42.5, 37.5)),
    Score(task="code", benchmark="LiveCodeBench v6", by_size=_of(80.0, 77.1, 72.0, 52.0, 44.0)),
    Score(task="science", benchmark="GPQA Diamond", by_size=_of(84.3, 82.3, 78.8, 58.6, 43.4)),
    Score(task="instructions", benchmark="IFBench", by_size=_of(76.0, 72.0, 74.0, 44.0, 38.0)),
    Score(task="languages", benchmark="MMMLU", by_size=_of(88.4, 86.3, 83.4, 76.6, 67.4)),
    Score(task="calling tools", benchmark="Tau2 retail", by_size=_of(86.4, 85.5, 77.6, 67.1, 34.6)),
    Score(
        task="long texts",
        benchmark="MRCR v2, 128k",
        by_size=_of(66.4, 44.1, 43.4, 25.4, 19.1),
        context=131_072,
    ),
    Score(
        task="pictures",
        benchmark="MMMU Pro, 280 tokens",  # of an image: what it takes unless told otherwise
        by_size=_of(75.8, 73.2, 67.7, 51.4, 43.2),
        takes="image",
    ),
    Score(
        task="documents",
        benchmark="InfographicVQA, 1120",
        by_size=_of(92.0, 89.3, 88.4, 70.0, 63.9),
        takes="image",
    ),
    Score(
        task="speech",
        benchmark="FLEURS en, errors",
        by_size={"12b": 6.3, "e4b": 6.5, "e2b": 8.0},
        lower=True,
        takes="audio",
    ),
)
