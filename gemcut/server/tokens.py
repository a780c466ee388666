"""/tokenize and /detokenize, as vLLM has them: what a prompt or a chat is for the model, and back."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gemcut.server.chat import check_media
from gemcut.server.chat_fields import TemplateOptions
from gemcut.server.fields import Fields, read_fields
from gemcut.server.message_fields import ChatMessage, ChatTool, conversation
from gemcut.server.refusal import Refusal
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
        if asked.prompt is not None:
            if asked.tools is not None or asked.chat_template_kwargs is not None:
                raise Refusal(400, "tools and chat_template_kwargs go with messages", param="tools")
            ids = gemma.tokenizer.encode(asked.prompt, special=asked.parse_special)
            bos = gemma.tokenizer.special.bos
            if asked.add_special_tokens and ids[:1] != [bos]:
                ids = [bos, *ids]
        else:
            ids = self._chat(asked)
        shown: dict[str, Any] = {
            "count": len(ids),
            "max_model_len": gemma.memory.context,
            "tokens": ids,
            "token_strs": None,
        }
        if asked.return_token_strs:
            shown["token_strs"] = [gemma.tokenizer.token_bytes(i).decode(errors="replace") for i in ids]
        return shown

    def _chat(self, asked: TokenizeRequest) -> list[int]:
        gemma = self._serving.models.find(asked.model).gemma
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
        return {"prompt": tokenizer.decode(asked.tokens, special=not asked.skip_special_tokens)}
