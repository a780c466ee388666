"""What tests of the recipes need of the machine."""

import pytest

from gemcut.errors import BadTraining
from recipes.nano.drawing import FONTS, font_file


@pytest.fixture(autouse=True)
def fonts(request: pytest.FixtureRequest) -> None:
    """Skips the tests of modules that print letters where a font is missing, with the command that helps."""
    if request.path.stem not in ("test_nano_pictures", "test_nano_seen", "test_nano_senses"):
        return
    try:
        for name in FONTS:
            font_file(name)
    except BadTraining as problem:
        pytest.skip(str(problem))
