"""What a run tells while it goes on: lines for a person, and a table with every update."""

import csv
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from gemcut.train.loop import Report


class TrainingLog:
    """Writes every report to a .csv file, and every few seconds a line about the updates since the last line.

    A file that is there already is continued: the run was resumed.
    """

    def __init__(self, path: Path, every_s: float, stream: TextIO = sys.stderr) -> None:
        self.every_s = every_s
        self.stream = stream
        fresh = not path.exists()
        self._file = path.open("a", newline="")
        self._table = csv.DictWriter(self._file, [field.name for field in fields(Report)])
        if fresh:
            self._table.writeheader()
        self._since: list[Report] = []
        self._last: Report | None = None

    def add(self, report: Report) -> None:
        """Takes note of an update."""
        self._table.writerow(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(report).items()}
        )
        self._since.append(report)
        if report.seconds - (0.0 if self._last is None else self._last.seconds) >= self.every_s:
            self.tell()

    def tell(self) -> None:
        """Writes a line about the updates since the last one, if there were any."""
        if not self._since:
            return
        last = self._since[-1]
        loss = sum(report.loss for report in self._since) / len(self._since)
        left_s = last.seconds * (1 - last.progress) / max(last.progress, 1e-9)
        print(
            f"{last.phase}  step {last.step}  {last.tokens / 1e6:.2f} M tokens  {self._speed()}  "
            f"loss {loss:.3f}  "
            f"gradient {last.gradient_norm:.2f}  rate {last.rate:.2e}  {last.seconds / 60:.1f} min, "
            f"{left_s / 60:.1f} left",
            file=self.stream,
            flush=True,
        )
        self._file.flush()
        self._since, self._last = [], last

    def _speed(self) -> str:
        """Tokens a second since the last line; the first updates, when torch compiles, do not count."""
        if self._last is None or not self._since:
            return "starting"
        last = self._since[-1]
        rate = (last.tokens - self._last.tokens) / max(last.seconds - self._last.seconds, 1e-9)
        return f"{rate:.0f} tok/s"

    def close(self) -> None:
        """Writes what is left."""
        self.tell()
        self._file.close()
