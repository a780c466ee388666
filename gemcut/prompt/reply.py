"""An assistant's message → the token ids that the model would write for it: `ReplyParser` backwards."""

from collections.abc import Sequence

from gemcut.errors import BadMessages
from gemcut.prompt.call_syntax import format_call
from gemcut.prompt.channels import open_tail
from gemcut.prompt.escape import encode_protected, protect
from gemcut.prompt.messages import Message
from gemcut.prompt.parse import THOUGHT_HEADER
from gemcut.prompt.tokenizer import Tokenizer


def encode_reply(message: Message, prompt_ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The ids that follow the prompt if the model gives this message, with the token that ends its turn.

    They are thoughts, text, calls, in this order; control strings in them stay text. The end is `<turn|>`, or
    `<|tool_response>` after calls. Where the prompt leaves a thought channel open, the reply begins within
    it.
    Raises BadMessages unless the message is an assistant's with text content.
    """
    if message.role != "assistant" or not isinstance(message.content, str):
        raise BadMessages("only an assistant's message with text content can be a reply; give one")
    opened = bool(open_tail(prompt_ids, tokenizer.special))
    reply = "" if opened or not message.reasoning else f"<|channel>{THOUGHT_HEADER}"
    if message.reasoning:
        reply += protect(message.reasoning) + "\n"
    if message.reasoning or opened:
        reply += "<channel|>"
    reply += protect(message.content)
    for call in message.tool_calls:
        reply += format_call(protect(call.name), protect(call.arguments))
    reply += "<|tool_response>" if message.tool_calls else "<turn|>"
    return encode_protected(reply, tokenizer)
