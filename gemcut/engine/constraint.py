"""Which tokens may come next in a reply: a grammar over its text, thoughts before it, and their budget.

A constraint is ids in, bits out, and knows of no model: `compute_masks` may run in a thread of its own while
the model runs (llguidance lets go of the interpreter's lock).

    thought   before the text: any ordinary token, then <channel|>, at once when the budget is spent
    text      what the grammar permits; where it leaves one way only, that way's own tokens

Letters: V vocabulary, W = ceil(V / 32) words of packed bits, R rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from torch import Tensor

from gemcut.errors import BadConstraint
from gemcut.prompt.channels import ChannelState, entered_state, open_tail
from gemcut.prompt.json_schema import Schema, read_schema
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tool_grammar import FREE_CALLS, CallRules, tool_grammar
from gemcut.prompt.tools import Tools, tool_parameters

JSON_FORM = {
    "whitespace_pattern": r"(?: |\n[ \t]{0,64})",  # between the parts; more would invite endless blanks
    "json_allowed_escapes": 'nrbtf\\"',  # no \u: a key written with it would pass for another key
}


@dataclass(frozen=True)
class Grammar:
    """What a reply's text must follow.

    kind: how errors call it.  source: as llguidance reads it.
    """

    kind: str
    source: str


def schema_grammar(schema: Schema) -> Grammar:
    """JSON that follows a schema.  Raises BadConstraint, naming the keyword that cannot be enforced."""
    text = json.dumps({**read_schema(schema), "x-guidance": JSON_FORM})
    return Grammar("the schema", LLMatcher.grammar_from_json_schema(text))


def regex_grammar(pattern: str) -> Grammar:
    """Text that a regular expression matches as a whole, in Rust's syntax, without look-around."""
    return Grammar("the regular expression", LLMatcher.grammar_from_regex(pattern))


def calls_grammar(tools: Tools, schema: Schema | None, rules: CallRules) -> Grammar:
    """Text and calls of declared tools; with a schema, JSON that follows it, or calls.

    Raises BadConstraint and BadTools, naming the tool and what is wrong in it.
    """
    answer = "TEXT"
    if schema is not None:
        answer = f"%json {json.dumps({**read_schema(schema), 'x-guidance': JSON_FORM})}"
    lark = tool_grammar(tool_parameters(tools), answer, rules)
    return Grammar("the tools", LLMatcher.grammar_from_lark(lark))


def lark_grammar(text: str) -> Grammar:
    """Text of a context-free language, in Lark's syntax as llguidance has it."""
    return Grammar("the grammar", LLMatcher.grammar_from_lark(text))


def reply_grammar(
    schema: Schema | None,
    regex: str | None,
    grammar: str | None,
    tools: Tools | None,
    rules: CallRules = FREE_CALLS,
) -> Grammar | None:
    """The grammar of a reply; None where it is free.

    tools: those that calls are held to.  rules: how many calls, and of which of them.
    Raises BadConstraint for two that cannot hold at once, too.
    """
    given = {"a schema": schema, "a regular expression": regex, "a grammar": grammar}
    names = [name for name, value in given.items() if value is not None]
    if rules != FREE_CALLS and not tools:
        raise BadConstraint("there are rules for calls and no tools that calls are held to; declare some")
    if names and rules.most == 0:
        tools = None  # the text's own grammar has no place for calls
    if tools and (regex is not None or grammar is not None):
        names.append("tools")
    if len(names) > 1:
        raise BadConstraint(
            f"{' and '.join(names)} are given, and a reply can follow one only; leave one out"
        )
    if tools:
        return calls_grammar(tools, schema, rules)
    if schema is not None:
        return schema_grammar(schema)
    if regex is not None:
        return regex_grammar(regex)
    return None if grammar is None else lark_grammar(grammar)


class GrammarVocabulary:
    """A tokenizer as llguidance reads it: made once for a model, which takes about a second for 262,144 ids.

    num_ids: V of the model, which may have more ids than the tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer, num_ids: int) -> None:
        self.special = tokenizer.special
        self.num_ids = num_ids
        ends = [self.special.turn_close, self.special.eos]
        self._backend = LLTokenizer(TokenizerWrapper(_Pieces(tokenizer)), n_vocab=num_ids, eos_token=ends)
        ordinary = [not tokenizer.is_control(i) for i in range(tokenizer.vocab_size)]
        self.ordinary = pack(torch.tensor(ordinary + [False] * (num_ids - len(ordinary))))  # (W,)

    @property
    def num_words(self) -> int:
        """W: how many words of 32 bits hold a bit for each id."""
        return (self.num_ids + 31) // 32

    def matcher(self, grammar: Grammar) -> LLMatcher:
        """The grammar, compiled, at its start.  Raises BadConstraint with what is wrong in it."""
        matcher = LLMatcher(self._backend, grammar.source, log_level=0)
        check_matcher(grammar, matcher)
        return matcher


class _Pieces:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = range(tokenizer.vocab_size)
        self.eos_token_id = tokenizer.special.turn_close
        self.bos_token_id = tokenizer.special.bos
        self.tokens = [tokenizer.token_bytes(i) for i in ids]
        self.special_token_ids = [i for i in ids if tokenizer.is_control(i)]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


def check_matcher(grammar: Grammar, matcher: LLMatcher) -> None:
    """Raises BadConstraint where llguidance could not read the grammar, or gave it up on the way."""
    if matcher.is_error():
        problem = " ".join(matcher.get_error().split("<state>")[0].split())
        raise BadConstraint(f"{grammar.kind} cannot be enforced: {problem}; change it")


@dataclass(frozen=True)
class _State:
    """Where a reply stands.

    thoughts: tokens since <channel|>'s opening.  may_think: whether <|channel>, too, may come now.
    forced: tokens that must come, in order.  in_grammar: whether the last token was the grammar's.
    """

    channel: ChannelState
    thoughts: int
    may_think: bool
    forced: tuple[int, ...]
    in_grammar: bool


@dataclass(frozen=True)
class ConstraintOptions:
    """What holds for one reply.

    grammar: None leaves the text free.  think: whether the reply may begin with a thought channel.
    max_thought_tokens: how many tokens may stand in it, at least 1; None for any number.
    """

    grammar: Grammar | None
    think: bool
    max_thought_tokens: int | None

    @property
    def constrain(self) -> bool:
        """Whether anything is asked of the tokens at all."""
        return self.grammar is not None or self.max_thought_tokens is not None


class Constraint:
    """The permitted tokens of one reply as it grows.

    prompt_ids: what the model reads; it may leave a thought channel open, and then the reply begins in it.
    Raises BadConstraint for a grammar that does not compile.
    """

    def __init__(
        self, vocabulary: GrammarVocabulary, options: ConstraintOptions, prompt_ids: Sequence[int] = ()
    ) -> None:
        self._vocabulary = vocabulary
        self._options = options
        self._matcher = None if options.grammar is None else vocabulary.matcher(options.grammar)
        channel: ChannelState = "text"
        for token_id in open_tail(prompt_ids, vocabulary.special):
            entered = entered_state(channel, token_id, vocabulary.special)
            channel = channel if entered is None else entered
        may_think = options.think and channel == "text"
        self._states = [_State(channel, thoughts=0, may_think=may_think, forced=(), in_grammar=False)]
        self._look_ahead()

    @property
    def restricts(self) -> bool:
        """Whether any token is forbidden next."""
        state = self._states[-1]
        return bool(state.forced) or (state.channel != "ended" and self._matcher is not None)

    @property
    def forced(self) -> tuple[int, ...]:
        """The tokens that must come next, in order; none where there is a choice."""
        return self._states[-1].forced

    @property
    def accepting(self) -> bool:
        """Whether the reply may end here."""
        if self._matcher is None:
            return True
        return self.ended or (self._states[-1].channel == "text" and self._matcher.is_accepting())

    @property
    def ended(self) -> bool:
        """Whether the reply is over."""
        return self._states[-1].channel == "ended"

    @property
    def stopped(self) -> bool:
        """Whether the reply is over, or nothing but its end may come."""
        if self.ended:
            return True
        return self._states[-1].channel == "text" and self._matcher is not None and self._matcher.is_stopped()

    def mask(self) -> Tensor:
        """The permitted tokens, (W,) int32 on the CPU, a bit each; the last word's padding is 0 or 1."""
        row = torch.empty(self._vocabulary.num_words, dtype=torch.int32)
        state, special = self._states[-1], self._vocabulary.special
        if state.forced:
            row.zero_()
            _set_bit(row, state.forced[0])
        elif self._matcher is None or state.channel == "ended":
            row.fill_(-1)
        elif state.channel == "thought":
            row.copy_(self._vocabulary.ordinary)
            _set_bit(row, special.channel_close)
        else:
            self._matcher.unsafe_compute_mask_ptr(row.data_ptr(), 4 * len(row))
            self._check()
            if state.may_think:
                _set_bit(row, special.channel_open)
        return row

    def advance(self, token_id: int) -> None:
        """Takes the next token.  Raises BadConstraint where it is not permitted."""
        state = self._states[-1]
        entered = entered_state(state.channel, token_id, self._vocabulary.special)
        channel = state.channel if entered is None else entered
        thinking = state.channel == "thought" or (state.may_think and channel == "thought")
        in_grammar = self._matcher is not None and not thinking and state.channel != "ended"
        if self._matcher is not None and in_grammar:
            self._matcher.consume_token(token_id)
            self._check()
        thoughts = state.thoughts + 1 if state.channel == channel == "thought" and entered is None else 0
        forced = state.forced[1:] if state.forced[:1] == (token_id,) else ()
        self._states.append(_State(channel, thoughts, False, forced, in_grammar))
        self._look_ahead()

    def rollback(self, count: int) -> None:
        """Takes the last `count` tokens back, as if they had never come."""
        assert 0 <= count < len(self._states), f"{count} tokens of {len(self._states) - 1} taken back"
        if count == 0:
            return
        consumed = sum(state.in_grammar for state in self._states[-count:])
        if self._matcher is not None and consumed:
            self._matcher.rollback(consumed)
            self._check()
        del self._states[-count:]

    def _look_ahead(self) -> None:
        """Finds the tokens that must come."""
        state, budget = self._states[-1], self._options.max_thought_tokens
        forced = state.forced
        if state.channel == "thought":
            spent = budget is not None and state.thoughts >= budget
            forced = (self._vocabulary.special.channel_close,) if spent else ()
        elif not forced and self._matcher is not None and state.channel != "ended" and not state.may_think:
            forced = tuple(self._matcher.compute_ff_tokens())
        self._states[-1] = _State(state.channel, state.thoughts, state.may_think, forced, state.in_grammar)

    def _check(self) -> None:
        assert self._matcher is not None
        assert self._options.grammar is not None
        check_matcher(self._options.grammar, self._matcher)


def compute_masks(constraints: Sequence[Constraint | None], num_words: int) -> Tensor | None:
    """The permitted tokens of many replies, (R, W) int32 on the CPU, a bit each; None where all is permitted.

    A row whose reply has no constraint has every bit set.
    """
    masks = [None if one is None or not one.restricts else one.mask() for one in constraints]
    return stack_masks(masks, num_words)


def stack_masks(masks: Sequence[Tensor | None], num_words: int) -> Tensor | None:
    """Masks (W,) of many replies as one, (R, W); one that is None permits all, and so does None returned."""
    if all(mask is None for mask in masks):
        return None
    free = torch.full((num_words,), -1, dtype=torch.int32)
    return torch.stack([free if mask is None else mask for mask in masks])


def pack(permitted: Tensor) -> Tensor:
    """Bits of (…, V) booleans: (…, W) int32, the lowest bit first."""
    missing = -permitted.shape[-1] % 32
    padded = torch.nn.functional.pad(permitted, (0, missing)).numpy()
    return torch.from_numpy(np.packbits(padded, axis=-1, bitorder="little").view(np.int32))


def unpack(packed: Tensor, num_ids: int) -> Tensor:
    """(…, W) int32 as (…, V) booleans, on the device where they lie."""
    if packed.device.type == "cpu":
        bits = np.unpackbits(packed.numpy().view(np.uint8), axis=-1, bitorder="little")
        return torch.from_numpy(bits).view(torch.bool)[..., :num_ids]
    places = torch.arange(32, dtype=torch.int32, device=packed.device)
    return ((packed[..., None] >> places) & 1).flatten(-2)[..., :num_ids].bool()  # (…, W, 32) -> (…, V)


def _set_bit(row: Tensor, token_id: int) -> None:
    bits = row.numpy().view(np.uint32)
    bits[token_id // 32] |= np.uint32(1 << token_id % 32)
