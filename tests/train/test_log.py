import csv
import io
from pathlib import Path

from gemcut.train.log import TrainingLog
from gemcut.train.loop import Report


def report(step: int, seconds: float) -> Report:
    return Report(
        step=step,
        phase="all",
        tokens=1000 * step,
        loss=1.0 / step,
        gradient_norm=0.5,
        rate=1e-3,
        seconds=seconds,
        progress=step / 10,
    )


def test_a_line_tells_about_the_updates_since_the_last(tmp_path: Path) -> None:
    said = io.StringIO()
    log = TrainingLog(tmp_path / "train.csv", every_s=10.0, stream=said)
    for step, seconds in ((1, 60.0), (2, 64.0), (3, 68.0), (4, 72.0), (5, 73.0)):
        log.add(report(step, seconds))
    log.close()
    first, second, third = said.getvalue().splitlines()
    assert first.startswith("all  step 1  0.00 M tokens  starting  loss 1.000")
    assert "250 tok/s  loss 0.361" in second
    assert second.endswith("1.2 min, 1.8 left")
    assert third.startswith("all  step 5")


def test_the_table_has_every_update_of_a_resumed_run_too(tmp_path: Path) -> None:
    for steps in ((1, 2), (3,)):
        log = TrainingLog(tmp_path / "train.csv", every_s=10.0, stream=io.StringIO())
        for step in steps:
            log.add(report(step, float(step)))
        log.close()
    with (tmp_path / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert rows[1]["loss"] == "0.5"
