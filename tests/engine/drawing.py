"""Draws what a constraint permits, wildly, without a model; ends are likelier, so that it does end."""

import random
from collections.abc import Sequence

from gemcut.engine.constraint import Constraint, GrammarVocabulary, compute_masks, unpack
from gemcut.prompt.tokenizer import Tokenizer

ENDS = '"]}0123456789,:'


def draw(
    constraint: Constraint,
    vocabulary: GrammarVocabulary,
    tokenizer: Tokenizer,
    seed: int,
    most: int = 250,
    start: Sequence[int] = (),
) -> list[int] | None:
    """The ids of one reply, its end included; None where it does not end within so many tokens.

    start: how it begins.
    """
    chance = random.Random(seed)
    closing = {i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]) in tuple(ENDS)}
    closing |= {tokenizer.special.quote, tokenizer.special.call_close, tokenizer.special.channel_close}
    ids = list(start)
    for token_id in ids:
        constraint.advance(token_id)
    while len(ids) < most:
        packed = compute_masks([constraint], vocabulary.num_words)
        assert packed is not None
        permitted = unpack(packed, vocabulary.num_ids)[0].nonzero().flatten().tolist()
        ends = {tokenizer.special.turn_close, tokenizer.special.response_open} & set(permitted)
        likely = sorted(closing & set(permitted))
        if ends and chance.random() < 0.5:
            chosen = chance.choice(sorted(ends))
        else:
            chosen = chance.choice(likely if likely and chance.random() < 0.4 else permitted)
        constraint.advance(chosen)
        ids.append(chosen)
        if chosen in (tokenizer.special.turn_close, tokenizer.special.eos, tokenizer.special.response_open):
            return ids
    return None
