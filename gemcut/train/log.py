"""What a run tells while it goes on: lines for a person, and a table with every update."""

import csv
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from gemcut.train.loop import Report


class TrainingLog:
    """Writes every report to a .csv file, and a line about the updates since the last line every few seconds."""

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
        first, last = self._since[0], self._since[-1]
        seconds, tokens = (0.0, 0) if self._last is None else (self._last.seconds, self._last.tokens)
        loss = sum(report.loss for report in self._since) / len(self._since)
        speed = (last.tokens - tokens) / max(last.seconds - seconds, 1e-9)
        left = last.seconds * (1 - last.progress) / max(last.progress, 1e-9) / 60
        if self._last is None and first.step > 1:
            speed = 0.0  # a resumed run does not know what it did before
        print(
            f"{last.phase} step {last.step}  {last.tokens / 1e6:.2f} M tokens  {speed:.0f} tok/s  loss {loss:.3f}  "
            f"gradient {last.gradient_norm:.2f}  rate {last.rate:.2e}  {last.seconds / 60:.1f} min  {left:.1f} left",
            file=self.stream,
            flush=True,
        )
        self._file.flush()
        self._since, self._last = [], last

    def close(self) -> None:
        """Writes what is left."""
        self.tell()
        self._file.close()
