"""Answers to requests that cannot be met: status, and a body in OpenAI's or Anthropic's shape."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from gemcut.errors import (
    BadMedia,
    BadTools,
    EngineFailed,
    GemcutError,
    PromptError,
    PromptTooLong,
    RequestTooLarge,
)

Style = Literal["openai", "anthropic"]
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}  # Anthropic's words, where it has one; OpenAI's clients go by the status


class Refusal(Exception):
    """A request that is not answered.

    param: the field that is to blame.  code: for programs.  headers: beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = {} if headers is None else dict(headers)

    def body(self, style: Style, request_id: str) -> dict[str, Any]:
        """The JSON of the answer."""
        kind = TYPES[self.status]
        if style == "anthropic":
            return {
                "type": "error",
                "error": {"type": kind, "message": self.message},
                "request_id": request_id,
            }
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code},
        }


def refusal_of(error: GemcutError, subject: str = "messages") -> Refusal:
    """What a client is told of an error that its request met.

    subject: the field that holds what the model reads.
    Engine failures are 503; media that cannot be read 422; everything else is the request's fault, 400.
    """
    message = " ".join(str(error).split())
    match error:
        case EngineFailed():
            return Refusal(503, message, code="engine_failed")
        case BadMedia():
            return Refusal(422, message, subject, code="invalid_media")
        case PromptTooLong() | RequestTooLarge():
            return Refusal(400, message, subject, code="context_length_exceeded")
        case BadTools():
            return Refusal(400, message, "tools", code="bad_tools")
        case PromptError():
            return Refusal(400, message, subject, code=_code(error))
    return Refusal(400, message, _named(message), code=_code(error))


def _named(message: str) -> str | None:
    """The field that our message begins with: `top_p is 7; it must be …`."""
    found = re.match(r"([a-z_]+) (?:is|has|0) ", message)
    return None if found is None else found[1]


def _code(error: GemcutError) -> str:
    """`BadSampling` -> `bad_sampling`."""
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
