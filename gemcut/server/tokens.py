"""/tokenize and /detokenize, as vLLM has them: what a prompt or a chat is for the model, and back."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gemcut.api import Gemma
from gemcut.errors import PromptError
from gemcut.prompt.assemble import check_length
from gemcut.server.chat import check_media
from gemcut.server.chat_fields import TemplateOptions
from gemcut.server.fields import Fields, read_fields
from gemcut.server.message_fields import ChatMessage, ChatTool, conversation
from gemcut.server.refusal import Refusal, refusal_of
from gemcut.server.sampling_fields import TokenId
from gemcut.server.serving import Serving


class TokenizeRequest(Fields):
    """Text or a chat.

    add_special_tokens: whether text gets <bos>.  parse_special: whether control strings in text count.
    """

    model: str | None = None
    prompt: str | None = None
    add_special_tokens: bool = True
    parse_special: bool = True
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    tools: list[ChatTool] | None = None
    chat_template_kwargs: TemplateOptions | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(Fields):
    """Token ids; skip_special_tokens: whether control tokens are left out of the text."""

    model: str | None = None
    tokens: list[TokenId]
    skip_special_tokens: bool = False


class Tokens:
    """The handlers of these routes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def tokenize(self, request: Request) -> Response:
        """The ids of a text or chat."""
        return JSONResponse(await self._serving.of_json(request, self._tokenize))

    async def detokenize(self, request: Request) -> Response:
        """The text of ids."""
        return JSONResponse(await self._serving.of_json(request, self._detokenize))

    def _tokenize(self, given: Any) -> dict[str, Any]:
        asked = read_fields(TokenizeRequest, given)
        gemma = self._serving.models.find(asked.model).gemma
        if (asked.prompt is None) == (asked.messages is None):
            raise Refusal(400, "give either prompt or messages", param="prompt")
        subject = "messages" if asked.prompt is None else "prompt"
        try:
            ids = self._chat(asked, gemma) if asked.prompt is None else _text(asked, asked.prompt, gemma)
        except PromptError as error:
            raise refusal_of(error, subject) from None
        shown: dict[str, Any] = {
            "count": len(ids),
            "max_model_len": gemma.memory.context,
            "tokens": ids,
            "token_strs": None,
        }
        if asked.return_token_strs:
            shown["token_strs"] = [gemma.tokenizer.token_bytes(i).decode(errors="replace") for i in ids]
        return shown

    def _chat(self, asked: TokenizeRequest, gemma: Gemma) -> list[int]:
        for name in ("parse_special", "add_special_tokens"):
            if name in asked.model_fields_set and getattr(asked, name):
                raise Refusal(400, f"{name} goes with prompt", param=name)
        messages = conversation(asked.messages or [])
        check_media(messages, self._serving)
        return list(
            gemma.prompt(
                messages,
                tools=[tool.model_dump(exclude_none=True) for tool in asked.tools or ()],
                think=asked.chat_template_kwargs is not None
                and bool(asked.chat_template_kwargs.enable_thinking),
                media=self._serving.media(),
            ).token_ids
        )

    def _detokenize(self, given: Any) -> dict[str, Any]:
        asked = read_fields(DetokenizeRequest, given)
        tokenizer = self._serving.models.find(asked.model).gemma.tokenizer
        try:
            return {"prompt": tokenizer.decode(asked.tokens, special=not asked.skip_special_tokens)}
        except PromptError as error:
            raise refusal_of(error, "tokens") from None


def _text(asked: TokenizeRequest, text: str, gemma: Gemma) -> list[int]:
    for name in ("tools", "chat_template_kwargs"):
        if getattr(asked, name) is not None:
            raise Refusal(400, f"{name} goes with messages", param=name)
    check_length(text, gemma.tokenizer, gemma.config.text.max_position_embeddings)
    ids = gemma.tokenizer.encode(text, special=asked.parse_special)
    bos = gemma.tokenizer.special.bos
    return [bos, *ids] if asked.add_special_tokens and ids[:1] != [bos] else ids
