import pytest

from gemcut.cli.answer import finish_text, show_answer
from gemcut.cli.screen import Screen
from gemcut.reply import Delta
from tests.cli.fake import CALL, CtrlC, FakeGemma, finish, said


def answer_of(*pieces: Delta | CtrlC) -> FakeGemma:
    return FakeGemma(pieces)


def test_an_answer_is_shown_as_it_comes_and_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    answer = show_answer(iter(said("Hello there!", thoughts="A greeting.")), Screen())
    seen = capsys.readouterr()
    assert seen.out == "Hello there!\n"
    assert seen.err == "A greeting.\n12 tokens · 85.3 tok/s · first token after 0.12 s\n"
    assert (answer.text, answer.thoughts, answer.tool_calls) == ("Hello there!", "A greeting.", ())
    assert answer.finish is not None


def test_a_call_is_a_line_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answer = show_answer(iter(said("Let me look.", calls=[CALL])), Screen())
    assert capsys.readouterr().out == 'Let me look.\nget_weather {"city": "Łódź"}\n'
    assert answer.tool_calls == (CALL,)


def test_a_malformed_call_is_told_and_is_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    answer = show_answer(iter([Delta("malformed_call", "call:get_weather{"), finish()]), Screen())
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "a call that cannot be read: call:get_weather{" in seen.err
    assert answer.tool_calls == ()


def test_ctrl_c_keeps_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    deltas = answer_of(Delta("text", "Hel"), CtrlC(), Delta("text", "lo")).stream([])
    answer = show_answer(deltas, Screen())
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("Hel\n", "stopped\n")
    assert answer.text == "Hel"
    assert answer.finish is None


def test_an_answer_that_was_cut_off_says_so() -> None:
    cut = finish("length").finish
    assert cut is not None
    assert finish_text(cut).endswith(" · cut off: --max-tokens, or the context is full")


def test_one_token_has_no_rate() -> None:
    one = finish(tokens_per_s=0).finish
    assert one is not None
    assert finish_text(one) == "12 tokens · first token after 0.12 s"
