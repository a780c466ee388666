"""The array of page tables follows the lists of pages, however they change."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.engine.page_tables import PageTables
from gemcut.engine.progress import PageRows


@dataclass(eq=False)
class Sequence:
    """What `PageTables` asks of a sequence, and its pages."""

    state: str = "running"
    pages: list[int] = field(default_factory=list)
    first_page: int = 0


def change(sequence: Sequence, what: str, amount: int, fresh: int) -> None:
    if what == "grow":
        sequence.pages += range(fresh, fresh + amount)
    elif what == "leave the front":
        passed = min(amount, len(sequence.pages) - 1)
        del sequence.pages[:passed]
        sequence.first_page += passed
    else:  # it had to give way, and begins anew
        sequence.pages, sequence.first_page = [fresh], 0


@settings(deadline=None)
@given(st.data(), st.integers(1, 20))
def test_the_lines_hold_the_pages_of_their_sequences(data: st.DataObject, most: int) -> None:
    tables, running, fresh = PageTables(), [], 1
    for _ in range(data.draw(st.integers(1, 30))):
        if len(running) < most and (not running or data.draw(st.booleans())):
            running.append(Sequence(pages=[fresh]))
        elif data.draw(st.booleans()):
            running.pop(data.draw(st.integers(0, len(running) - 1))).state = "ended"
        for sequence in running:
            if data.draw(st.booleans()):
                what = data.draw(st.sampled_from(["grow", "grow", "leave the front", "begin anew"]))
                change(sequence, what, data.draw(st.integers(1, 90)), fresh)
                fresh += 100
        chosen = [sequence for sequence in running if data.draw(st.booleans())]
        places = [PageRows(0, sequence.pages, sequence.first_page) for sequence in chosen]
        lines = tables.lines(chosen, places)  # type: ignore[arg-type]
        assert len(set(lines.index.tolist())) == len(chosen)
        assert lines.first_page.tolist() == [sequence.first_page for sequence in chosen]
        assert lines.num_pages == max([len(sequence.pages) for sequence in chosen], default=0)
        for line, sequence in zip(lines.index, chosen, strict=True):
            assert tables.pages[line, : len(sequence.pages)].tolist() == sequence.pages


def test_lines_of_sequences_that_ended_are_used_again() -> None:
    tables = PageTables()
    for number in range(100):
        sequence = Sequence(pages=[number])
        tables.lines([sequence], [PageRows(0, sequence.pages, 0)])  # type: ignore[list-item]
        sequence.state = "ended"
    assert len(tables.pages) == 8
