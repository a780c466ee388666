from gemcut.quant.forms import EVERYTHING, block_bytes, form_in_blocks

LAYER = "model.language_model.layers.0"


def test_rows_that_are_no_multiple_of_32_stay() -> None:
    name = f"{LAYER}.mlp.up_proj.weight"
    assert form_in_blocks(name, (96, 64), EVERYTHING["int4"]) == "int4"
    assert form_in_blocks(name, (96, 48), EVERYTHING["int4"]) is None


def test_what_has_no_rows_stays() -> None:
    assert form_in_blocks(f"{LAYER}.layer_scalar", (), EVERYTHING["int8"]) is None
    assert form_in_blocks(f"{LAYER}.input_layernorm.weight", (64,), EVERYTHING["int8"]) is None


def test_32_values_take_18_or_34_bytes() -> None:
    assert block_bytes((3, 64), "int4") == 3 * 2 * 18
    assert block_bytes((5, 3, 32), "int8") == 15 * 34
