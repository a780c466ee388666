"""How fast a machine is at what a model does: measured, or known of a device."""

from collections.abc import Mapping
from dataclasses import dataclass

from gemcut.fit.weights import Precision


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Figures to predict speeds from.

    read: bytes a second of weights in each form, multiplied with one row.  multiply: operations a second,
    with the many rows of a prompt.  layer_s: seconds of a layer's other, small operations.  row_s: of those
    on the many rows of a prompt, for each value of a row; 0 where `multiply` has them in it.
    unreached: the forms in which the device allows as much, and gemcut itself is slower there.
    """

    read: Mapping[Precision, float]
    multiply: Mapping[Precision, float]
    layer_s: float
    row_s: float
    unreached: frozenset[Precision] = frozenset()

    def floor(self, memory: float) -> "Rates":
        """What no program on this machine could beat, with the products that it has.

        Every form is read as fast as anything was; small operations cost nothing.
        memory: bytes a second of a plain read.
        """
        fastest = max(memory, *self.read.values())
        return Rates(read=dict.fromkeys(self.read, fastest), multiply=self.multiply, layer_s=0.0, row_s=0.0)
