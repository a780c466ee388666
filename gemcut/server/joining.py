"""The texts of overlapping windows of a recording → its text, without loss or repetition.

What lies in the overlap of two windows was heard twice: the end of one text and the beginning of the next
tell the same words. They are laid upon each other as in an edit distance. Equal words gain, and every other
word of the first text's end and of the second one's beginning costs: half a word that a window's edge cut, or
one that was heard in two ways, does no harm. Then the text passes from the first to the second at the middle
one of the equal words, which is the farthest from both edges. Where nothing agrees, because nobody spoke
there, the one text follows the other.

What words alone cannot tell: of one that is said again and again through a whole overlap, how often.
"""

import re
import unicodedata
from collections.abc import Sequence

HELD = 40  # words that an overlap may have; so many of a text's end wait for the next text
EQUAL, UNEQUAL, LONE = 3, -1, -1  # what a pair of words gains, and a word without a partner
# scripts that have no blanks between words, whose letters are taken one by one: Thai, Lao, Burmese, Khmer,
# Japanese, Chinese
_LETTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"(\s*)([{_LETTERS}]|[^\s{_LETTERS}]+)")


def words_of(text: str) -> list[str]:
    """The text's words, each with a blank before it where the text has any."""
    return [(" " if blank else "") + word for blank, word in _WORD.findall(text)]


def passage(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Where one text passes into the next: how many words of the first stay, how many of the next fall away.

    before: the first one's end.  after: the next one's beginning.  (len(before), 0) where they do not agree.
    """
    ours, theirs = [_key(word) for word in before], [_key(word) for word in after]
    best = _scores(ours, theirs)
    i, j = len(ours), max(range(len(theirs) + 1), key=lambda j: (best[-1][j], -j))
    pairs: list[tuple[int, int]] = []
    while j > 0:
        if i > 0 and best[i][j] == best[i - 1][j - 1] + _gain(ours[i - 1], theirs[j - 1]):
            i, j = i - 1, j - 1
            if ours[i] == theirs[j] != "":
                pairs.append((i, j))
        elif i > 0 and best[i][j] == best[i - 1][j] + _cost(ours[i - 1]):
            i -= 1
        else:
            j -= 1
    if not pairs:
        return len(before), 0
    kept, dropped = pairs[len(pairs) // 2]
    return kept + 1, dropped + 1


def _scores(ours: Sequence[str], theirs: Sequence[str]) -> list[list[int]]:
    """[i][j]: how well the end of ours[:i], from wherever it fits best, agrees with all of theirs[:j]."""
    best = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for j, word in enumerate(theirs, 1):
        best[0][j] = best[0][j - 1] + _cost(word)
    for i, our in enumerate(ours, 1):
        row, above, lone = best[i], best[i - 1], _cost(our)
        for j, their in enumerate(theirs, 1):
            row[j] = max(above[j - 1] + _gain(our, their), above[j] + lone, row[j - 1] + _cost(their))
    return best


def _gain(our: str, their: str) -> int:
    return EQUAL if our == their != "" else UNEQUAL


def _cost(key: str) -> int:
    return LONE if key else 0


def _key(word: str) -> str:
    """What of a word counts: neither its case nor marks, which windows set as they see sentences end."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", word).casefold() if letter.isalnum())


class _Told:
    """What is told of a window.  words: those that are whole and were not given yet."""

    def __init__(self, is_last: bool) -> None:
        self.is_last = is_last
        self.is_over = False
        self.words: list[str] = []
        self._rest = ""  # the word that may go on

    def push(self, text: str) -> None:
        self._rest += text
        *whole, last = [0, *(found.start() for found in _WORD.finditer(self._rest))]
        if whole:
            self.words += words_of(self._rest[:last])
            self._rest = self._rest[last:]

    def end(self) -> None:
        self.words += words_of(self._rest)
        self.is_over = True


class Joining:
    """The text of a recording, as it becomes certain while its windows are heard, in whatever order.

    parts: what each window gave to the text.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._told: list[_Told] = []
        self._at = 0  # the window whose words are being given
        self._last = ""  # the last letter that was given

    def open(self, is_last: bool) -> int:
        """The number of the next window."""
        self._told.append(_Told(is_last))
        self.parts.append("")
        return len(self._told) - 1

    def push(self, number: int, text: str) -> str:
        """What becomes certain with the next piece of a window's text."""
        self._told[number].push(text)
        return self._certain()

    def end(self, number: int) -> str:
        """What becomes certain with the end of a window's text."""
        self._told[number].end()
        return self._certain()

    def _certain(self) -> str:
        now = self._told[self._at]
        certain = self._give(len(now.words) - (0 if now.is_last else HELD))
        while now.is_over and self._at + 1 < len(self._told):
            after = self._told[self._at + 1]
            if not after.is_over and len(after.words) < HELD:
                break
            kept, dropped = passage(now.words, after.words[:HELD])
            certain += self._give(kept)
            del after.words[:dropped]
            if dropped == 0 and after.words:
                after.words[0] = self._apart(after.words[0])
            self._at, now = self._at + 1, after
            certain += self._give(len(now.words) - (0 if now.is_last else HELD))
        return certain

    def _give(self, count: int) -> str:
        """The next words of the window at hand, so many of them."""
        words = self._told[self._at].words
        text = "".join(words[: max(0, count)])
        del words[: max(0, count)]
        if not self._last:
            text = text.lstrip()
        self._last = text[-1:] or self._last
        self.parts[self._at] += text
        return text

    def _apart(self, word: str) -> str:
        """A window's first word, with a blank before it where its script has blanks."""
        is_written_on = re.match(f"[{_LETTERS}]", word) or re.match(f"[{_LETTERS}]", self._last)
        return word if is_written_on else " " + word.lstrip()
