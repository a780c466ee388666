"""An agent: the model is asked, its calls are run, their results told to it, until it answers."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, Unpack

from gemcut.errors import AgentUnfinished, BadMedia, BadOption, UnsupportedInput
from gemcut.many import AnswerOptions
from gemcut.prompt.messages import Conversation, Message, ToolCall, read_messages
from gemcut.reply import Delta, Reply, Usage, whole_reply
from gemcut.toolbox import Callables, Toolbox, ToolResult, failed


class Answering(Protocol):
    """What an agent needs of `Gemma`: two of its methods."""

    @property
    def stream(self) -> Callable[..., Iterator[Delta]]:
        """The pieces of one reply."""

    @property
    def prompt(self) -> Callable[..., object]:
        """What the model would read; raises what is wrong with it."""


@dataclass(frozen=True)
class AgentOptions:
    """How an agent works.

    system: what it is told first, unless a conversation begins with a system message of its own.
    max_rounds: the most replies to one conversation.  parallel: how many calls of a reply run at once.
    Raises BadOption for numbers below 1.
    """

    system: str | None
    max_rounds: int
    parallel: int

    def __post_init__(self) -> None:
        for name in ("max_rounds", "parallel"):
            if getattr(self, name) < 1:
                raise BadOption(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True)
class AgentRun:
    """What an agent did.

    messages: the whole conversation, with the model's replies and the tools' results; a user's message
    behind them goes on with it.  replies: the model's, the answer last.  results: of all calls, in order.
    """

    messages: tuple[Message, ...]
    replies: tuple[Reply, ...]
    results: tuple[ToolResult, ...]

    @property
    def text(self) -> str:
        """The answer; where `replies[-1].finish_reason` is "length", its beginning."""
        return self.replies[-1].text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All calls that were made."""
        return tuple(result.call for result in self.results)

    @property
    def usage(self) -> Usage:
        """Tokens read and made in all rounds together."""
        usages = [reply.usage for reply in self.replies]
        return Usage(
            sum(usage.prompt_tokens for usage in usages),
            sum(usage.completion_tokens for usage in usages),
            sum(usage.cached_tokens for usage in usages),
        )


AgentEvent: TypeAlias = Delta | ToolResult | AgentRun


class Agent:
    """A model that holds tools; many conversations may go on with one.  Made by `Gemma.agent`."""

    def __init__(
        self, model: Answering, tools: Callables, working: AgentOptions, **options: Unpack[AnswerOptions]
    ) -> None:
        self._model = model
        self._toolbox = Toolbox(tools)
        self._working = working
        self._options = options

    def run(self, messages: Conversation) -> AgentRun:
        """What `stream` ends with."""
        *_, run = self.stream(messages)
        assert isinstance(run, AgentRun), "a stream ends with its run"
        return run

    def stream(self, messages: Conversation) -> Iterator[AgentEvent]:
        """What happens, as it does: `Delta`s of the replies, a `ToolResult` for each call, `AgentRun` last.

        Calls of one reply run at the same time and their results come as they are there; in the conversation
        they stand in the calls' order.  What a tool raises is told to the model.  Who stops reading ends the
        reply; tools that run are not interrupted.
        Raises AgentUnfinished where max_rounds replies gave no answer, or one broke off before it; what
        `Gemma.stream` raises.
        """
        said = self._opened(messages)
        replies: list[Reply] = []
        results: list[ToolResult] = []
        for _ in range(self._working.max_rounds):
            reply = yield from self._reply(said)
            replies.append(reply)
            said.append(Message("assistant", reply.text, None, reply.thoughts, reply.tool_calls))
            if not reply.tool_calls:
                run = AgentRun(tuple(said), tuple(replies), tuple(results))
                if (problem := _broken_off(reply)) is not None:
                    raise AgentUnfinished(problem, run)
                yield run
                return
            told = yield from self._results(reply.tool_calls)
            results += told
            said += [Message("tool", result.content, tool_call_id=result.call.id) for result in told]
        names = ", ".join(dict.fromkeys(result.call.name for result in results))
        raise AgentUnfinished(
            f"{len(replies)} rounds ended with calls and none with an answer (called: {names}); "
            "raise max_rounds",
            AgentRun(tuple(said), tuple(replies), tuple(results)),
        )

    def _opened(self, messages: Conversation) -> list[Message]:
        said = list(read_messages(messages))
        if self._working.system is not None and said[0].role not in ("system", "developer"):
            said.insert(0, Message("system", self._working.system))
        return said

    def _reply(self, said: Sequence[Message]) -> Generator[Delta, None, Reply]:
        """The pieces of a reply, its calls numbered on from those before for results to find; returns it."""
        num_calls = sum(len(message.tool_calls) for message in said)
        deltas: list[Delta] = []
        for delta in self._model.stream(said, tools=self._toolbox.declarations, **self._options):
            if delta.tool_call is not None:
                num_calls += 1
                delta = replace(delta, tool_call=replace(delta.tool_call, id=f"call_{num_calls}"))
            deltas.append(delta)
            yield delta
        return whole_reply(deltas)

    def _results(self, calls: Sequence[ToolCall]) -> Generator[ToolResult, None, list[ToolResult]]:
        """The results as they come; returns them in the calls' order."""
        pool = ThreadPoolExecutor(self._working.parallel, "gemcut-tool")
        try:
            running = [pool.submit(self._result, call) for call in calls]
            for done in as_completed(running):
                yield done.result()
            return [done.result() for done in running]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _result(self, call: ToolCall) -> ToolResult:
        """What came of a call; media that the model cannot take are an error of the tool."""
        result = self._toolbox.run(call)
        if isinstance(result.content, str):
            return result
        try:
            self._model.prompt([Message("user", result.content)], media=self._options.get("media"))
        except (BadMedia, UnsupportedInput) as error:
            return failed(call, error)
        return result


def _broken_off(reply: Reply) -> str | None:
    """Why a reply without calls is no answer, and what to do; None where it is one."""
    is_cut = reply.finish_reason == "length"
    if reply.malformed_calls and not is_cut:
        return (
            f"the last reply has a call that cannot be read, {reply.malformed_calls[-1][:80]!r}; "
            "leave constrain_tools on"
        )
    if is_cut and (reply.malformed_calls or not reply.text):
        within = "within a call" if reply.malformed_calls else "before its answer"
        made = reply.usage.completion_tokens
        return (
            f"the last reply was cut off after {made} tokens, {within}; "
            "raise max_tokens, shorten the conversation"
        )
    return None
