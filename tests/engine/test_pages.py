"""Pages: what is found again, and what is given up first."""

import pytest

from gemcut.engine.pages import PageLayout, Pages, PrefixHashes, Table
from gemcut.engine.request import MediaSpan, cut_back
from gemcut.errors import BadOption

LAYOUT = PageLayout(page_tokens=4, window=8, full_pages=9, sliding_pages=7)
PROMPT = tuple(range(100, 120))


def hashes(ids: tuple[int, ...], media: tuple[MediaSpan, ...] = (), adapter: bytes = b"") -> list[bytes]:
    found = PrefixHashes(LAYOUT.page_tokens, media, adapter)
    found.extend(ids)
    return found.of_pages


def read(pages: Pages, ids: tuple[int, ...], edges: tuple[int, ...]) -> Table:
    """The table of a sequence that has read `ids`, page by page, and kept windows at some edges."""
    keys = hashes(ids)
    table = pages.open(pages.find(keys, len(ids), ()))
    for start in range(table.num_found * 4, len(ids), 4):
        pages.grow(table, start + 4)
        pages.publish(table, keys, start, start + 4)
        if start + 4 in edges:
            pages.keep_window(table, keys, start + 4)
        pages.slide(table, start + 4)
    return table


def test_a_hash_tells_all_that_came_before() -> None:
    here = hashes(PROMPT)
    assert hashes(PROMPT[:9]) == here[:2]
    assert not set(hashes((1, *PROMPT[1:]))) & set(here)
    assert hashes((*PROMPT[:8], 1, *PROMPT[9:]))[:2] == here[:2]
    assert not set(hashes(PROMPT, adapter=b"mine")) & set(here)


def test_a_hash_tells_the_media_from_their_first_page_on() -> None:
    cat, dog = ((MediaSpan(6, 11, name, whole=True),) for name in (b"cat", b"dog"))
    assert hashes(PROMPT, cat)[0] == hashes(PROMPT)[0]
    assert not set(hashes(PROMPT, cat)[1:]) & set(hashes(PROMPT, dog)[1:] + hashes(PROMPT)[1:])


def test_hashes_grow_with_the_sequence() -> None:
    media = tuple(MediaSpan(start, start + 3, bytes([start]), whole=False) for start in (1, 6, 9, 14))
    growing = PrefixHashes(4, media, b"")
    for length in range(len(PROMPT) + 1):
        growing.extend(PROMPT[:length])
    assert growing.of_pages == hashes(PROMPT, media)


def test_a_hit_needs_the_window_before_it() -> None:
    pages = Pages(LAYOUT)
    pages.close(read(pages, PROMPT, edges=(12,)))
    hit = pages.find(hashes(PROMPT), len(PROMPT) + 1, ())
    assert (hit.tokens, len(hit.full), len(hit.window)) == (12, 5, 2)
    assert pages.find(hashes(PROMPT[:11]), 11, ()).tokens == 0


def test_a_hit_leaves_a_token_to_compute() -> None:
    pages = Pages(LAYOUT)
    pages.close(read(pages, PROMPT, edges=(8, 12)))
    assert pages.find(hashes(PROMPT), 12, ()).tokens == 8
    assert pages.find(hashes(PROMPT), 13, ()).tokens == 12


def test_no_hit_ends_inside_an_image() -> None:
    pages = Pages(LAYOUT)
    pages.close(read(pages, PROMPT, edges=(8, 12)))
    image = (MediaSpan(9, 14, b"", whole=True),)
    assert pages.find(hashes(PROMPT), 20, image).tokens == 8


@pytest.mark.parametrize(
    ("position", "edge"),
    [(8, 8), (11, 8), (12, 8), (13, 8), (16, 16), (19, 16), (22, 16), (27, 16), (28, 28)],
)
def test_positions_are_cut_back_to_a_pages_edge_outside_images(position: int, edge: int) -> None:
    spans = (MediaSpan(10, 14, b"", whole=True), MediaSpan(18, 27, b"", whole=True))
    assert cut_back(position, spans, 4) == edge


def test_children_are_given_up_before_their_parents_and_old_before_new() -> None:
    pages = Pages(LAYOUT)  # 8 pages of full-attention layers
    pages.close(read(pages, PROMPT[:16], edges=(16,)))
    pages.close(read(pages, (7,) * 16, edges=(16,)))
    table = Table()
    pages.grow(table, 8)
    assert len(pages.find(hashes(PROMPT), 20, ()).full) == 2
    assert len(pages.find(hashes((7,) * 16), 20, ()).full) == 4


def test_what_was_found_again_is_given_up_later() -> None:
    pages = Pages(LAYOUT)
    pages.close(read(pages, PROMPT[:16], edges=(16,)))
    pages.close(read(pages, (7,) * 16, edges=(16,)))
    pages.close(pages.open(pages.find(hashes(PROMPT), 20, ())))
    pages.grow(Table(), 8)
    assert len(pages.find(hashes(PROMPT), 20, ()).full) == 4
    assert len(pages.find(hashes((7,) * 16), 20, ()).full) == 2


def test_a_window_is_given_up_whole_and_with_the_pages_it_belongs_to() -> None:
    pages = Pages(LAYOUT)  # 6 pages of sliding layers
    pages.close(read(pages, PROMPT[:16], edges=(8, 16)))
    assert len(pages.sliding.free) == 2
    pages.grow(Table(), 12)
    assert pages.find(hashes(PROMPT), 20, ()).tokens == 16
    assert len(pages.sliding.free) == 1  # the older window went, both its pages
    pages.grow(Table(), 8)  # takes the full-attention page of positions 12 to 15
    assert pages.find(hashes(PROMPT), 20, ()).tokens == 0
    assert len(pages.sliding.free) == pages.sliding.available == 6 - 3 - 2


def test_pages_in_use_are_not_given_up() -> None:
    pages = Pages(LAYOUT)
    table = read(pages, PROMPT, edges=(20,))
    assert pages.reach(Table()) == 3 * 4
    pages.close(table)
    assert pages.reach(Table()) == 6 * 4


def test_memory_for_no_request_is_refused() -> None:
    with pytest.raises(BadOption, match="has 1 and 9 pages and a single request needs 2 and 4; raise cache"):
        PageLayout(page_tokens=4, window=8, full_pages=1, sliding_pages=9)
    with pytest.raises(BadOption, match="page_tokens is 0"):
        PageLayout(page_tokens=0, window=8, full_pages=1, sliding_pages=9)
