"""config.json's `quantization_config`: which weights of a checkpoint that gemcut wrote are in blocks."""

from pathlib import Path
from typing import Any

from gemcut.checkpoint.section import Section
from gemcut.config import BlockForm, Quantization

KEY = "quantization_config"
METHOD = "gemcut"
FORMS = ("int4", "int8", None)


def read_quantization(file: Path) -> Quantization | None:
    """What a config.json says of blocks; None where all weights are plain.

    Raises CheckpointNotFound without the file, BadConfig for a method that is not gemcut's.
    """
    return read_quantization_section(Section.read(file))


def read_quantization_section(top: Section) -> Quantization | None:
    """The same of a config.json that is being read: takes the key."""
    if not top.has(KEY):
        top.ignore(KEY)
        return None
    section = top.child(KEY)
    method = section.take("quant_method") if section.has("quant_method") else None
    if method != METHOD:
        section.fail(
            "quant_method",
            f"is {method!r}, which gemcut does not read; take the original model, and make it small with:"
            " gemcut quantize MODEL --to int4 --out DIR",
        )
    found = Quantization(
        projections=_form(section, "projections"),
        embedding=_form(section, "embedding"),
        per_layer_table=_form(section, "per_layer_table"),
    )
    section.close()
    return found


def quantization_json(quantization: Quantization) -> dict[str, Any]:
    """What `read_quantization_section` reads."""
    return {
        "quant_method": METHOD,
        "projections": quantization.projections,
        "embedding": quantization.embedding,
        "per_layer_table": quantization.per_layer_table,
    }


def _form(section: Section, key: str) -> BlockForm | None:
    form: BlockForm | None = section.one_of(key, *FORMS)
    return form
