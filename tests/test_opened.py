"""A checkpoint before its weights are read."""

from pathlib import Path

import pytest

from gemcut.checkpoint.gguf_write import write_gguf
from gemcut.errors import BadConfig, BadWeightFile
from gemcut.opened import open_checkpoint
from gemcut.quant.export import Exporting
from gemcut.quant.export_media import ExportingMedia
from tests.quant.models import BIG, write_model
from tests.tiny_model import write_tiny_model


def test_the_file_of_what_sees_and_hears_is_no_model(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "senses", senses=True)
    work = ExportingMedia(source=open_checkpoint(tmp_path / "senses"), kind=None)
    work.write(tmp_path / "mmproj.gguf", work.pieces(), overwrite=False)
    with pytest.raises(BadConfig, match="mmproj.gguf holds a model of the architecture 'clip'"):
        open_checkpoint(tmp_path / "mmproj.gguf")


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    work = Exporting(source=open_checkpoint(write_model(tmp_path / "plain", BIG)), kind=None)
    write_gguf(tmp_path / "vocab.gguf", work.pairs(), [], [])
    with pytest.raises(BadWeightFile, match="vocab.gguf has no weights"):
        open_checkpoint(tmp_path / "vocab.gguf")
