"""nano's vocabulary: Gemma 4's kind of BPE, with 2,048 pieces, made so that unseen words are easy to copy.

A word has the same pieces at the start of a text, after a blank, a quote, an underscore or a colon: merges
join letters of one case first; then blanks, capitals and the chat format's own marks join a few fixed words.
"""

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from recipes.nano.example import Example
from recipes.nano.lexicon import LISTS, WORDS, Lexicon, listed
from recipes.nano.render import segments

VOCABULARY_SIZE = 2048
BLANK = "▁"
NAMED = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "std_token": "<|tool>",
    "etd_token": "<tool|>",
    "stc_token": "<|tool_call>",
    "etc_token": "<tool_call|>",
    "str_token": "<|tool_response>",
    "etr_token": "<tool_response|>",
    "escape_token": '<|"|>',
    "think_token": "<|think|>",
    "soc_token": "<|channel>",
    "eoc_token": "<channel|>",
    "sot_token": "<|turn>",
    "eot_token": "<turn|>",
    "boi_token": "<|image>",
    "boa_token": "<|audio>",
    "image_token": "<|image|>",
    "audio_token": "<|audio|>",
    "eoi_token": "<image|>",
    "eoa_token": "<audio|>",
}
VIDEO = "<|video|>"
MORE_CHARACTERS = "\n\téèêëàâáãçñíîïóôõúûüöäßÉÜÖÄ¿¡’‘“”…–—€°£×÷"
# Punctuation of the chat format that stands around the same words each time: chains of merges, left to right.
STRUCTURE = (
    ("declaration", ":"),
    ("call", ":"),
    ("response", ":"),
    ("{", "description", ":"),
    (":", "{description:"),
    ("{", "type", ":"),
    (":", "{type:"),
    ("{", "enum", ":", "["),
    (":", "{enum:["),
    (",", "parameters", ":", "{"),
    ("properties", ":", "{"),
    (",parameters:{", "properties:{"),
    (",", "required", ":", "["),
    ("}", ",required:["),
    ("}", "},required:["),
    (",", "type", ":"),
    ("]", ",type:"),
    ("{", "value", ":"),
    ("}", "}"),
    ('"', ":", BLANK),
    ('":▁', '"'),
    ('"', ",", BLANK),
    ('",▁', '"'),
)
CHAT_WORDS = listed(
    "declaration call response description type enum parameters properties required value thought user model "
    "system"
)
CHAT_CAPITALS = ("STRING", "OBJECT", "INTEGER", "BOOLEAN")
BLANK_WORDS, CAPITAL_WORDS = listed(LISTS["blank_words"]), listed(LISTS["capital_words"])
STANDING = 50_000  # pieces; training reads 200 times as many
JOINED = 112  # merges at most of these words
Words = Counter[str]
Pair = tuple[str, str]


def count_words(texts: Iterable[str]) -> Words:
    """How often each run of small letters and each run of capitals occurs."""
    counts: Words = Counter()
    for text in texts:
        counts.update(re.findall(r"[a-z]+|[A-Z]+", text))
    return counts


def learn_merges(
    words: dict[str, int], count: int, without: frozenset[str] = frozenset()
) -> tuple[list[Pair], dict[str, list[str]]]:
    """The `count` merges that BPE learns from the words' weights, and the pieces that each word ends in.

    Of equal pairs the greater comes first.  without: pieces that no merge may make.
    """
    pieces = {word: list(word) for word in words}
    weights: dict[Pair, int] = {}
    where: dict[Pair, set[str]] = defaultdict(set)
    for word, parts in pieces.items():
        for pair in pairwise(parts):
            weights[pair] = weights.get(pair, 0) + words[word]
            where[pair].add(word)
    heap = [
        _entry(pair, weight) for pair, weight in weights.items()
    ]  # old weights stay in it until they come up
    heapify(heap)
    merges: list[Pair] = []
    while len(merges) < count:
        weight, _, best = heappop(heap)
        if weights.get(best) != -weight or "".join(best) in without:
            continue
        merges.append(best)
        changed: set[Pair] = set()
        for word in sorted(where.pop(best)):
            before, after = pieces[word], _apply(pieces[word], best)
            pieces[word] = after
            for pair in pairwise(before):
                weights[pair] -= words[word]
            for pair in pairwise(after):
                weights[pair] = weights.get(pair, 0) + words[word]
                where[pair].add(word)
            changed.update(pairwise(before), pairwise(after))
        for pair in changed:
            if weights[pair] > 0:
                heappush(heap, _entry(pair, weights[pair]))
            else:
                del weights[pair]
    return merges, pieces


def merges_that_stand(words: dict[str, int], counts: Words, count: int) -> list[Pair]:
    """`count` merges whose pieces training reads as they are, and not too rarely.

    BPE makes pieces that are hardly more than a step to a longer one (`grade`, where `upgrade` is the word
    that occurs).  Such a piece is never learnt, and then it stands in a word of the held-out cases.  It is
    forbidden, and the merges are learnt anew, until all pieces stand at least once in `STANDING`, or are a
    part of the chat format's words, which stand elsewhere hardly ever.
    counts: how often the sample says each word.
    """
    without: frozenset[str] = frozenset()
    while True:
        merges, pieces = learn_merges(words, count, without)
        standing: Words = Counter()
        for word, parts in pieces.items():
            for piece in parts:
                standing[piece] += counts[word]
        least = standing.total() // STANDING
        rare = {a + b for a, b in merges if standing[a + b] < least}
        rare = {piece for piece in rare if not any(piece in word for word in (*CHAT_WORDS, *CHAT_CAPITALS))}
        if not rare:
            return merges
        without |= rare


def _entry(pair: Pair, weight: int) -> tuple[int, tuple[tuple[int, ...], ...], Pair]:
    backwards = tuple((*(-ord(c) for c in piece), 1) for piece in pair)  # the greater pair first
    return -weight, backwards, pair


def _apply(parts: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


def chains(rows: Iterable[tuple[str, ...]]) -> list[Pair]:
    """The merges that join each row from left to right."""
    return [("".join(row[:i]), row[i]) for row in rows for i in range(1, len(row))]


def runs(character: str) -> list[Pair]:
    """Merges for two to eight of the same character."""
    lengths = ((1, 1), (2, 2), (4, 4), (4, 2), (4, 1), (2, 1), (6, 1))
    return [(character * a, character * b) for a, b in lengths]


def word_weights(texts: list[str], rng: random.Random) -> dict[str, int]:
    """Weights of the words: the training text dampened, and enough invented words for good syllables."""
    weights = {word: int(10 * count**0.75) for word, count in count_words(texts).items()}
    for word in WORDS:
        weights[word] = weights.get(word, 0) + 20
    lexicon = Lexicon(rng, "train")
    for _ in range(12_000):
        word = lexicon.invented()
        weights[word] = weights.get(word, 0) + 10
    for word in (*CHAT_WORDS, *CHAT_CAPITALS):
        weights[word] = 10_000_000
    return dict(sorted(weights.items()))


def joining(texts: list[str], merges: list[Pair]) -> list[Pair]:
    """The last merges: capital + rest for the words that begin sentences, then blank + word for fixed words.

    A word is left alone where its piece begins other words too: those keep one form everywhere.
    """
    pieces = {a + b for a, b in merges} | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    letters = backend({piece: i for i, piece in enumerate(sorted(pieces))}, merges, [])
    counts = Counter(w for text in texts for w in re.findall(r"(?<![A-Za-z])[A-Za-z]+", text))
    begins: Words = Counter()
    for word, count in counts.items():
        first = letters.encode(word, add_special_tokens=False).tokens[0]
        if first != word:
            begins[first] += count
    capital = [(w[0], w[1:]) for w in CAPITAL_WORDS if w[1:] in pieces and counts[w] > 0]
    pieces |= {a + b for a, b in capital}
    fixed = [w for w in (*BLANK_WORDS, *CAPITAL_WORDS) if w in pieces and counts[w] > 20]
    return capital + [(BLANK, word) for word in dict.fromkeys(fixed) if begins[word] < 0.08 * counts[word]]


def build(examples: list[Example], seed: int) -> Tokenizer:
    """The tokenizer for these examples."""
    texts = [text for example in examples for text, _ in segments(example)]
    controls = [*NAMED.values(), VIDEO]
    characters = [chr(c) for c in range(33, 127)] + [BLANK, *MORE_CHARACTERS]
    fixed = chains(STRUCTURE) + runs("\n") + runs(BLANK)
    room = VOCABULARY_SIZE - len(controls) - 256 - len(characters) - len({a + b for a, b in fixed}) - JOINED
    letters = merges_that_stand(word_weights(texts, random.Random(seed)), count_words(texts), room)
    merges = letters + fixed + joining(texts, letters)[:JOINED]
    pieces = controls + [f"<0x{byte:02X}>" for byte in range(256)] + characters
    pieces += list(dict.fromkeys(a + b for a, b in merges))
    for spare in range(VOCABULARY_SIZE - len(pieces)):
        pieces.append(f"<unused{spare}>")
    if len(pieces) != VOCABULARY_SIZE or len(set(pieces)) != VOCABULARY_SIZE:
        raise ValueError(
            f"{len(pieces)} pieces, {len(set(pieces))} different ones; {VOCABULARY_SIZE} were wanted"
        )
    return backend({piece: i for i, piece in enumerate(pieces)}, merges, controls)


def backend(vocabulary: dict[str, int], merges: list[Pair], controls: list[str]) -> Tokenizer:
    """A tokenizer of Gemma 4's kind from its vocabulary and merges."""
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", BLANK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        **NAMED,
        "backend": "tokenizers",
        "extra_special_tokens": [VIDEO],
        "model_max_length": 1000000000000000019884624838656,
        "padding_side": "left",
        "tokenizer_class": "GemmaTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
