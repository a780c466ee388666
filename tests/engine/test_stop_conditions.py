"""When a reply is over, and why."""

from gemcut.engine.stop_conditions import StopConditions


def test_a_stop_id_ends_the_reply() -> None:
    stops = StopConditions([7])
    stops.push(5)
    assert not stops.over
    stops.push(7)
    assert (stops.over, stops.at_stop_id, stops.reason) == (True, True, "stop")


def test_the_last_permitted_token_ends_it_for_its_length() -> None:
    stops = StopConditions([7], max_tokens=2)
    stops.push(5)
    stops.push(5)
    assert (stops.over, stops.reason) == (True, "length")


def test_a_stop_id_in_the_last_place_is_a_stop() -> None:
    stops = StopConditions([7], max_tokens=1)
    stops.push(7)
    assert stops.reason == "stop"


def test_a_stop_text_across_tokens_ends_it_and_is_not_shown() -> None:
    stops = StopConditions(stop_texts=["END"])
    shown = ""
    for piece in ("one E", "N", "D two"):
        stops.push(5)
        shown += stops.show(piece)
    assert (shown + stops.flush(), stops.over, stops.reason) == ("one ", True, "stop")


def test_neither_ids_nor_texts_stop_the_first_min_tokens() -> None:
    stops = StopConditions([7], ["x"], min_tokens=2)
    shown = ""
    for token_id, piece in ((7, "x"), (5, "x"), (5, "ax")):
        stops.push(token_id)
        shown += stops.show(piece)
    assert (shown, stops.at_stop_text) == ("xxa", True)


def test_a_call_makes_the_end_one_for_tool_calls_unless_it_was_cut_off() -> None:
    stops = StopConditions([7], max_tokens=2)
    stops.called = True
    stops.push(5)
    assert stops.reason == "length"
    stops.push(7)
    assert stops.reason == "tool_calls"


def test_the_context_bounds_the_tokens_too() -> None:
    assert (StopConditions(max_tokens=5).most_tokens(3), StopConditions().most_tokens(3)) == (3, 3)


def test_what_nothing_may_follow_stops_among_the_first_tokens_too() -> None:
    stops = StopConditions([5], min_tokens=3)
    stops.push(5)
    assert not stops.over
    stops.push(5, ended=True)
    assert stops.over
    assert stops.reason == "stop"
