"""Training text is what inference sees: the hand-written renderer equals nano's chat template."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend

from gemcut.prompt.assemble import assemble
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from recipes.nano.build_data import sample_for_tokenizer
from recipes.nano.mix import TASKS
from recipes.nano.render import encode, segments
from recipes.nano.tokenizer import build, save
from tests.prompt.forms import form

TEMPLATE = Path(__file__).resolve().parents[2] / "gemcut" / "nano" / "chat_template.jinja"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    save(build(sample_for_tokenizer(4, 2000), 4), out)
    return out


@pytest.mark.parametrize("name", list(TASKS))
def test_examples_begin_with_the_prompt_that_the_model_gets(name: str, folder: Path) -> None:
    template = ChatTemplate(TEMPLATE.read_text())
    ours = Backend.from_file(str(folder / "tokenizer.json"))
    theirs = Tokenizer.from_folder(folder)
    rng = random.Random(3)
    for _ in range(12):
        example = TASKS[name](rng, "train")
        prompt = assemble(
            example.messages[:-1], example.tools, example.think, form(theirs, template)
        ).token_ids
        ids = encode(ours, [example])[0][0].tolist()
        assert tuple(ids[: len(prompt)]) == prompt


@pytest.mark.parametrize("name", list(TASKS))
def test_the_whole_text_is_the_templates(name: str) -> None:
    template = ChatTemplate(TEMPLATE.read_text())
    rng = random.Random(4)
    for _ in range(12):
        example = TASKS[name](rng, "train")
        text = template.render(
            example.messages, tools=example.tools, think=example.think, add_generation_prompt=False
        )
        assert "".join(part for part, _ in segments(example)) == text
