"""The arrays of page tables follow the lists of pages, however they change."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.engine.page_tables import LINES, PageTables
from gemcut.engine.pages import Table


@dataclass(eq=False)
class Sequence:
    """What `PageTables` asks of a sequence."""

    state: str = "running"
    table: Table = field(default_factory=Table)


def begun(fresh: int) -> Table:
    return Table(full=[fresh], sliding=[fresh + 1], num_found=fresh % 2)


def change(sequence: Sequence, what: str, amount: int, fresh: int) -> None:
    table = sequence.table
    table.changes += 1
    if what == "grow":
        table.full += range(fresh, fresh + amount)
        table.sliding += range(fresh + 100, fresh + 100 + amount)
    elif what == "leave the front":
        passed = min(amount, len(table.sliding) - 1)
        del table.sliding[:passed]
        table.first_sliding += passed
    else:  # it had to give way, and begins anew
        sequence.table = begun(fresh)


@settings(deadline=None)
@given(st.data(), st.integers(1, 20))
def test_the_lines_hold_the_pages_of_their_sequences(data: st.DataObject, most: int) -> None:
    tables, running, fresh = PageTables(), [], 1
    for _ in range(data.draw(st.integers(1, 30))):
        if len(running) < most and (not running or data.draw(st.booleans())):
            running.append(Sequence(table=begun(fresh)))
        elif data.draw(st.booleans()):
            running.pop(data.draw(st.integers(0, len(running) - 1))).state = "ended"
        for sequence in running:
            if data.draw(st.booleans()):
                what = data.draw(st.sampled_from(["grow", "grow", "leave the front", "begin anew"]))
                change(sequence, what, data.draw(st.integers(1, 90)), fresh)
                fresh += 201
        chosen = [sequence for sequence in running if data.draw(st.booleans())]
        lines = tables.lines(chosen)  # type: ignore[arg-type]
        assert len(set(lines.tolist())) == len(chosen)
        for line, sequence in zip(lines, chosen, strict=True):
            table = sequence.table
            held = [tables.pages[kind, line, : tables.count[kind, line]].tolist() for kind in (0, 1)]
            assert held == [table.full, table.sliding]
            assert tables.first[:, line].tolist() == [0, table.first_sliding]
            assert tables.num_found[line] == table.num_found


def test_lines_of_sequences_that_ended_are_used_again() -> None:
    tables = PageTables()
    for number in range(100):
        sequence = Sequence(table=begun(number))
        tables.lines([sequence])  # type: ignore[list-item]
        sequence.state = "ended"
    assert len(tables.num_found) == LINES
