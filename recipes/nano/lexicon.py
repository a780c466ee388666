"""Words, names and values, split in two spaces that never meet: what training says and what only held-out cases say.

A word belongs to the held-out space where crc32(word) ends in 0 modulo 10; so no list needs to be kept.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

from recipes.nano.example import Split

WORDS = tuple((Path(__file__).parent / "words.txt").read_text().split())
VERBS = tuple(
    "add adjust align analyze archive arrange attach balance block book bring brush build bury buy call cancel capture "
    "carry catch charge check choose clean clear close collect color combine compare compress connect convert cook "
    "copy count cover crop cut darken deliver deploy describe design detect dial dig dim disable display divide dock "
    "double download draft drain draw drop dry edit empty enable encrypt erase estimate exchange expand export extract "
    "feed fetch file fill filter find fix flip fold follow forward freeze generate get give grade greet grind group "
    "guard hang heat hide hire hold import improve inspect install invite invoice iron join jump keep launch lend "
    "level lift light limit list load locate lock log lower mail make mark measure melt merge mix monitor mount move "
    "mute name notify open order pack paint park pause pay pick pin place plan plant play plot polish post pour press "
    "print process publish pull pump push query queue quote raise rank rate read record recycle refill refund register "
    "reject release remind remove rename rent repair replace reply report request reserve reset resize restart restore "
    "return reverse review rinse rotate route run save scan schedule search select sell send serve set share shift ship "
    "show shuffle shut sign skip slice sort split spray stack start stop store stretch submit subscribe sum swap switch "
    "tag take test tie tighten toggle trace track trade train transfer translate trim tune turn unlock unpack update "
    "upgrade upload validate verify view visit wake warm wash watch water weigh win wipe wrap write zip zoom".split()
)
NOUNS = tuple(
    "account address agenda airport alarm album alert apple archive article asset badge bag balance ball banner basket "
    "battery beach bed bell bike bill bird blanket blog board boat book boots bottle box branch bread bridge budget "
    "button cabin cable cake calendar camera candle car card cargo cart case cat chair channel chart chat clock cloud "
    "coat coffee coin column comment contact contract corner coupon course crate cup curtain customer cycle dashboard "
    "deck delivery desk device dinner dish dog door drawer dress drill driver drone engine envelope event exam fan farm "
    "fence field file fish flag flight floor flower folder forecast form fountain fridge game garage garden gate gift "
    "glass glove graph guest guitar hall hammer hat heater helmet horse hotel house idea image index invoice island "
    "item jacket jar job journal juice key keyboard kitchen kite label ladder lake lamp laptop lawn lesson letter "
    "library light line link list loan lock log lunch machine magnet mail map market meal meeting menu message meter "
    "mirror model monitor motor mountain movie museum music network note novel oven package page paint panel paper "
    "parcel park party passport path patient payment pen phone photo piano picture pillow pipe pizza plane plant plate "
    "player playlist pocket poem policy pond pool portrait poster pot printer profile project pump puzzle queue radio "
    "rain receipt recipe record refund relay rent report request reservation ring river road robot rocket roof room "
    "route rug salad sample sandwich scale scene school score screen seat sensor server shelf ship shirt shoe shop "
    "signal sink site sketch song sound soup spoon stage stamp station stock stone store storm story stove street "
    "student suit switch table tank task taxi team tent ticket timer tire token tool towel tower toy train tree trip "
    "truck tunnel umbrella user valve van vase vehicle video village violin visit voice volume voucher wall wallet "
    "watch wheel window wine wire word yard".split()
)
PARAMETERS = tuple(
    "amount angle author brand brightness capacity category channel city code color content count country currency "
    "customer date day delay depth destination direction distance duration email end event family file folder format "
    "fuel genre grade group guest height host hour id index item kind label language length level limit location "
    "material message minute mode month name number order origin owner page partner password path percent person phase "
    "phone place position power price priority product quality quantity query rank rate reason recipient region room "
    "route score seats sender shape side size sort source speed stage start state status street style subject tag "
    "target team temperature text theme time title topic type unit user value volume warehouse week weight width year "
    "zone".split()
)
NAMES = tuple(
    "Ada Adam Aisha Alan Alex Alice Amir Ana Andrea Anna Anton Aria Arthur Ben Bella Boris Bruno Carla Carlos Carol "
    "Chen Chloe Clara Daniel David Dana Diego Dora Edgar Elena Eli Ella Emil Emma Erik Eva Felix Fatima Finn Frank "
    "Fred Gina Grace Greta Hana Hans Harry Helen Hugo Ida Igor Ines Ingrid Iris Ivan Jack Jana Jane Jin John Jonas "
    "Jorge Julia Kai Karim Karl Kate Kenji Lara Laura Lena Leo Lena Liam Lily Lina Lucas Lucy Luis Luna Maria Marco "
    "Mark Marta Max Maya Mia Mila Mina Mona Nadia Nina Noah Nora Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro "
    "Peter Petra Raj Rita Robert Rosa Ruth Sam Sara Sofia Stella Tara Theo Tim Tina Tom Uma Vera Victor Walter Wei "
    "Yara Yuki Zoe".split()
)
CITIES = tuple(
    "Amsterdam Athens Atlanta Austin Bangkok Barcelona Beijing Berlin Bogota Boston Brussels Bucharest Budapest Cairo "
    "Chicago Copenhagen Dallas Delhi Denver Dublin Geneva Hamburg Hanoi Havana Helsinki Houston Istanbul Jakarta "
    "Kyoto Lagos Lima Lisbon London Lyon Madrid Manila Melbourne Miami Milan Montreal Moscow Mumbai Munich Nairobi "
    "Naples Osaka Oslo Paris Perth Porto Prague Riga Rome Santiago Seattle Seoul Seville Sofia Stockholm Sydney "
    "Tallinn Tokyo Toronto Turin Venice Vienna Warsaw Zagreb Zurich".split()
)
COLORS = tuple("red blue green yellow black white orange purple pink brown gray silver gold".split())
ONSETS = tuple("b c d f g h j k l m n p r s t v w z br cr dr fl gl gr kr pl pr sh sk sl st th tr".split())
VOWELS = tuple("a e i o u a e i o u ai ea ou".split())
CODAS = ("", "", "", "", "n", "r", "l", "s", "t", "m", "x", "nd", "rk")


def in_split(text: str, split: Split) -> bool:
    """Whether the space of `split` holds the word `text`, whatever its case."""
    return (crc32(text.lower().encode()) % 10 == 0) == (split == "held_out")


class Lexicon:
    """Draws words and values of one split."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        """Draws come from `rng` and lie in the space of `split`."""
        self.rng = rng
        self.split: Split = split

    def until(self, draw: Callable[[], str]) -> str:
        """The first drawn text of this split."""
        while not in_split(text := draw(), self.split):
            pass
        return text

    def choice(self, options: Sequence[str]) -> str:
        """One of the options of this split."""
        return self.until(lambda: self.rng.choice(options))

    def _syllables(self) -> str:
        rng = self.rng
        count = rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(CODAS)
        return word if rng.random() < 0.9 else rng.choice(VOWELS) + word

    def invented(self) -> str:
        """A pronounceable word that means nothing."""
        return self.until(self._syllables)

    def word(self) -> str:
        """A lower-case word, real or invented."""
        return self.choice(WORDS) if self.rng.random() < 0.5 else self.invented()

    def words(self, count: int) -> list[str]:
        """As many different words."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.word()] = None
        return list(found)

    def _mostly(self, options: Sequence[str], share: float) -> str:
        return self.choice(options) if self.rng.random() < share else self.word()

    def verb(self) -> str:
        """A verb, now and then an invented one."""
        return self._mostly(VERBS, 0.7)

    def noun(self) -> str:
        """A noun, or some word in its place."""
        return self._mostly(NOUNS, 0.5)

    def parameter(self) -> str:
        """A parameter's name: one word, or two joined by an underscore."""
        name = self._mostly(PARAMETERS, 0.6)
        return f"{self.word()}_{name}" if self.rng.random() < 0.12 else name

    def name(self) -> str:
        """A person's name."""
        return self.choice(NAMES) if self.rng.random() < 0.3 else self.invented().capitalize()

    def city(self) -> str:
        """A city, or an invented place."""
        return self.choice(CITIES) if self.rng.random() < 0.4 else self.invented().capitalize()

    def number(self, low: int = 1, high: int = 9999) -> int:
        """A number, short ones as likely as long ones."""

        def draw() -> str:
            digits = self.rng.randint(len(str(low)), len(str(high)))
            return str(self.rng.randint(max(low, 10 ** (digits - 1)), min(high, 10**digits - 1)))

        return int(self.until(draw))

    def code(self) -> str:
        """Something like KB-4821, a time, a date or an address of mail."""
        rng = self.rng
        kind = rng.randrange(6)
        if kind == 0:
            return self.until(lambda: f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45, rng.randint(0, 59))):02d}")
        if kind == 1:
            return self.until(lambda: f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}")
        if kind == 2:
            return f"{self.invented()}@{self.word()}.{rng.choice(('com', 'org', 'net'))}"
        if kind == 3:
            return f"{self.word()}.{rng.choice(('txt', 'png', 'pdf', 'csv'))}"
        letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXZ") for _ in range(2))
        return self.until(lambda: f"{letters}{rng.choice(('-', ''))}{rng.randint(10, 999)}")

    def text_value(self) -> str:
        """A string as tools get it: mostly one word, also a name, a place, a code or two words."""
        roll = self.rng.random()
        if roll < 0.4:
            return self.word()
        if roll < 0.6:
            return self.name() if roll < 0.5 else self.city()
        if roll < 0.78:
            return self.code()
        if roll < 0.84:
            return self.choice(COLORS)
        return " ".join(self.words(2 if roll < 0.96 else 3))
