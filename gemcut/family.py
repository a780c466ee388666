"""The sizes of Gemma 4 as rows of data, and nano, the model in the package.

What users are shown of a size comes from here, and so do the numbers to build any of the five without a file.
Source: facts of the hub's config.json files and tensor lists; tests/test_family.py compares the two.
"""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from gemcut.config import AttentionKind, ExpertsConfig, Rope, TextConfig
from gemcut.errors import UnknownModel

Input = Literal["text", "image", "audio", "video"]

BYTES_OF_BFLOAT16 = 2


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How many weights each part of a size has."""

    embedding: int
    per_layer_table: int  # looked up, one row a token; stays on disk
    decoder: int  # all of the text model but embedding, per-layer table and experts
    experts: int
    vision: int
    audio: int
    unused: int  # K and V of the layers that share another's: on the hub, never read

    @property
    def total(self) -> int:
        """Every weight that the model can use."""
        parts = (self.embedding, self.per_layer_table, self.decoder, self.experts, self.vision, self.audio)
        return sum(parts)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The numbers of one size."""

    text: TextConfig
    parameters: Parameters

    @property
    def context(self) -> int:
        """The most tokens that the model is made for."""
        return self.text.max_position_embeddings

    @property
    def active_parameters(self) -> int:
        """Weights that a step of one text token computes with: no per-layer table, only the experts chosen.

        Google calls this number effective (E2B, E4B) or active (26B-A4B).
        """
        experts = self.text.experts
        chosen = (
            0 if experts is None else self.parameters.experts * experts.top_k_experts // experts.num_experts
        )
        return self.parameters.embedding + self.parameters.decoder + chosen

    @property
    def disk_bytes(self) -> int:
        """Bytes of the tensors in the hub's files, in bfloat16."""
        return BYTES_OF_BFLOAT16 * (self.parameters.total + self.parameters.unused)

    @property
    def load_bytes(self) -> int:
        """Bytes of memory for the text model's weights in bfloat16; the per-layer table stays on disk."""
        parameters = self.parameters
        return BYTES_OF_BFLOAT16 * (parameters.embedding + parameters.decoder + parameters.experts)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row: a name that users type, and what stands behind it."""

    name: str
    title: str
    hub_id: str | None  # None: it comes with the package
    takes: tuple[Input, ...]
    size: Size


def family(name: str) -> Family:
    """The row of a size: "nano", "e2b", "e4b", "12b", "26b" or "31b".

    Raises UnknownModel, which lists them, for any other name.
    """
    for row in FAMILIES:
        if row.name == name:
            return row
    names = {row.name: row.name for row in FAMILIES}
    for row in FAMILIES:
        if row.hub_id is not None:
            repository = row.hub_id.lower().removeprefix("google/")
            names |= {repository: row.name, repository.removesuffix("-it"): row.name}
    near = get_close_matches(name.lower(), names, n=1)
    hint = f"; did you mean {names[near[0]]!r}?" if near else ""
    raise UnknownModel(
        f"there is no model {name!r}: give one of {', '.join(row.name for row in FAMILIES)}, "
        f"a folder, or a hub id such as google/gemma-4-E2B-it{hint}"
    )


def layer_pattern(num_layers: int, full_every: int) -> tuple[AttentionKind, ...]:
    """Layer kinds where each `full_every`-th layer sees everything and the others a window."""
    return tuple(
        "full_attention" if (index + 1) % full_every == 0 else "sliding_attention"
        for index in range(num_layers)
    )


E2B = TextConfig(
    vocab_size=262_144,
    hidden_size=1536,
    intermediate_size=6144,
    layer_types=layer_pattern(35, full_every=5),
    num_attention_heads=8,
    num_key_value_heads=1,
    num_global_key_value_heads=1,
    head_dim=256,
    global_head_dim=512,
    sliding_window=512,
    attention_k_eq_v=False,
    num_kv_shared_layers=20,
    use_double_wide_mlp=True,
    hidden_size_per_layer_input=256,
    vocab_size_per_layer_input=262_144,
    experts=None,
    bidirectional_images=False,
    local_rope=Rope(theta=10_000.0, rotated=1.0),
    global_rope=Rope(theta=1_000_000.0, rotated=0.25),
    final_logit_softcapping=30.0,
    rms_norm_eps=1e-6,
    max_position_embeddings=131_072,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=1,
)
E4B = replace(
    E2B,
    hidden_size=2560,
    intermediate_size=10_240,
    layer_types=layer_pattern(42, full_every=6),
    num_key_value_heads=2,
    num_global_key_value_heads=2,
    num_kv_shared_layers=18,
    use_double_wide_mlp=False,
)
DENSE_31B = replace(
    E2B,
    hidden_size=5376,
    intermediate_size=21_504,
    layer_types=layer_pattern(60, full_every=6),
    num_attention_heads=32,
    num_key_value_heads=16,
    num_global_key_value_heads=4,
    sliding_window=1024,
    attention_k_eq_v=True,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=0,
    bidirectional_images=True,
    max_position_embeddings=262_144,
)
UNIFIED_12B = replace(
    DENSE_31B,
    hidden_size=3840,
    intermediate_size=15_360,
    layer_types=layer_pattern(48, full_every=6),
    num_attention_heads=16,
    num_key_value_heads=8,
    num_global_key_value_heads=1,
)
EXPERTS_26B = replace(
    DENSE_31B,
    hidden_size=2816,
    intermediate_size=2112,
    layer_types=layer_pattern(30, full_every=6),
    num_attention_heads=16,
    num_key_value_heads=8,
    num_global_key_value_heads=2,
    experts=ExpertsConfig(num_experts=128, top_k_experts=8, moe_intermediate_size=704),
)

NANO = replace(
    E2B,
    vocab_size=2048,
    hidden_size=160,
    intermediate_size=320,
    layer_types=("sliding_attention", *layer_pattern(8, full_every=2)),
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    global_head_dim=64,
    sliding_window=128,
    num_kv_shared_layers=4,  # in training they run for learnt tokens only: half the price of the others
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=80,  # a table costs no arithmetic
    vocab_size_per_layer_input=2048,
    max_position_embeddings=4096,
)

FAMILIES = (
    Family(
        name="nano",
        title="nano, in the package",
        hub_id=None,
        takes=("text", "image", "audio", "video"),
        size=Size(
            text=NANO,
            parameters=Parameters(
                embedding=327_680,
                per_layer_table=1_474_560,
                decoder=2_370_969,
                experts=0,
                vision=1_094_928,
                audio=1_292_592,
                unused=0,
            ),
        ),
    ),
    Family(
        name="e2b",
        title="Gemma 4 E2B",
        hub_id="google/gemma-4-E2B-it",
        takes=("text", "image", "audio", "video"),
        size=Size(
            text=E2B,
            parameters=Parameters(
                embedding=402_653_184,
                per_layer_table=2_348_810_240,
                decoder=1_877_105_955,
                experts=0,
                vision=168_544_704,
                audio=307_184_384,
                unused=18_880_512,
            ),
        ),
    ),
    Family(
        name="e4b",
        title="Gemma 4 E4B",
        hub_id="google/gemma-4-E4B-it",
        takes=("text", "image", "audio", "video"),
        size=Size(
            text=E4B,
            parameters=Parameters(
                embedding=671_088_640,
                per_layer_table=2_818_572_288,
                decoder=3_973_352_490,
                experts=0,
                vision=169_331_136,
                audio=308_757_248,
                unused=55_055_616,
            ),
        ),
    ),
    Family(
        name="12b",
        title="Gemma 4 12B",
        hub_id="google/gemma-4-12B-it",
        takes=("text", "image", "audio", "video"),
        size=Size(
            text=UNIFIED_12B,
            parameters=Parameters(
                embedding=1_006_632_960,
                per_layer_table=0,
                decoder=10_900_717_360,
                experts=0,
                vision=49_922_304,
                audio=2_457_600,
                unused=0,
            ),
        ),
    ),
    Family(
        name="26b",
        title="Gemma 4 26B-A4B",
        hub_id="google/gemma-4-26B-A4B-it",
        takes=("text", "image", "video"),
        size=Size(
            text=EXPERTS_26B,
            parameters=Parameters(
                embedding=738_197_504,
                per_layer_table=0,
                decoder=1_656_959_006,
                experts=22_837_985_280,
                vision=572_794_416,
                audio=0,
                unused=0,
            ),
        ),
    ),
    Family(
        name="31b",
        title="Gemma 4 31B",
        hub_id="google/gemma-4-31B-it",
        takes=("text", "image", "video"),
        size=Size(
            text=DENSE_31B,
            parameters=Parameters(
                embedding=1_409_286_144,
                per_layer_table=0,
                decoder=29_288_059_196,
                experts=0,
                vision=575_743_536,
                audio=0,
                unused=0,
            ),
        ),
    ),
)
