"""What constraints cost: masks as a share of a token's time.  `python -m bench.constrain [MODEL] [DTYPE]`.

A reply is drawn with a schema and timed; then its tokens go through the constraint alone: masks, unpacking,
masking of the logits, advance. The share counts; tokens a second depend on the machine.
"""

import statistics
import sys
import time

import torch

from gemcut import Gemma, SamplingParams
from gemcut.engine.constraint import (
    Constraint,
    ConstraintOptions,
    Grammar,
    GrammarVocabulary,
    compute_masks,
    reply_grammar,
    schema_grammar,
    unpack,
)

LINE = {
    "type": "object",
    "properties": {"item": {"type": "string", "maxLength": 20}, "amount": {"type": "number", "minimum": 0}},
    "required": ["item", "amount"],
}
INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "maxLength": 20},
        "lines": {"type": "array", "items": LINE, "maxItems": 8},
    },
    "required": ["number", "lines"],
}
PAY = {"name": "pay", "parameters": INVOICE}
QUESTION = "Write an invoice with three lines."
TOKENS = 100


def cost_s(gemma: Gemma, vocabulary: GrammarVocabulary, grammar: Grammar, ids: list[int]) -> float:
    """Seconds that the constraint takes over these ids: masks, unpacking, masking, advance."""
    size = gemma.config.text.vocab_size
    logits = torch.zeros(size)
    constraint = Constraint(vocabulary, ConstraintOptions(grammar, think=False, max_thought_tokens=None))
    start = time.perf_counter()
    for token_id in ids:
        packed = compute_masks([constraint], vocabulary.num_words)
        if packed is not None:
            logits.masked_fill(~unpack(packed, size)[0], float("-inf"))
        constraint.advance(token_id)
    return time.perf_counter() - start


def main() -> None:
    """Prints a line for a schema and one for tools."""
    source = sys.argv[1] if len(sys.argv) > 1 else "nano"
    gemma = Gemma.load(source, dtype=sys.argv[2] if len(sys.argv) > 2 else None)  # type: ignore[arg-type]
    start = time.perf_counter()
    vocabulary = GrammarVocabulary(gemma.tokenizer, gemma.config.text.vocab_size)
    print(f"{source}: vocabulary of {vocabulary.num_ids} ids read in {time.perf_counter() - start:.2f} s")
    grammars = {"schema": schema_grammar(INVOICE), "tools": reply_grammar(None, None, None, [PAY])}
    for name, grammar in grammars.items():
        assert grammar is not None
        start = time.perf_counter()
        vocabulary.matcher(grammar)
        compiled_s = time.perf_counter() - start
        sampling = SamplingParams(temperature=1.0, seed=1, max_tokens=TOKENS)
        reply = gemma.reply(QUESTION, schema=INVOICE, sampling=sampling)
        ids = gemma.tokenizer.encode(reply.text)
        if name == "tools":
            ids = gemma.tokenizer.encode("Here it is: " + reply.text)
        each_s = statistics.median(cost_s(gemma, vocabulary, grammar, ids) for _ in range(5)) / len(ids)
        share = each_s * reply.timing.tokens_per_s
        print(
            f"{name}: compiled in {1e3 * compiled_s:.1f} ms, {1e6 * each_s:.0f} µs a token,"
            f" {reply.timing.tokens_per_s:.1f} tok/s with it, {100 * share:.2f} % of the time"
        )


if __name__ == "__main__":
    main()
