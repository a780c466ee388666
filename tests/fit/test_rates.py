from gemcut.fit.rates import Rates

RATES = Rates(
    read={"bf16": 20e9, "int8": 24e9, "int4": 9e9},
    multiply={"bf16": 140e9, "int8": 90e9, "int4": 180e9},
    layer_s=1e-4,
    row_s=1e-9,
)


def test_at_best_every_form_is_read_as_fast_as_anything_was() -> None:
    assert set(RATES.floor(25e9).read.values()) == {25e9}
    assert set(RATES.floor(15e9).read.values()) == {24e9}


def test_at_best_only_products_take_time_beside() -> None:
    floor = RATES.floor(25e9)
    assert floor.multiply == RATES.multiply
    assert floor.layer_s == floor.row_s == 0
