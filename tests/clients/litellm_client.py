"""litellm; run by test_clients.py with the server's URL."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm  # noqa: E402  # it reads the environment when it is imported

ASK = {"model": "openai/nano", "api_base": sys.argv[1] + "/v1", "api_key": "any", "num_retries": 0}
SAID = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

whole = litellm.completion(messages=SAID, max_tokens=20, **ASK)
pieces = litellm.completion(messages=SAID, max_tokens=20, stream=True, **ASK)
text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
assert text == whole.choices[0].message.content, text
called = litellm.completion(messages=SAID, tools=[TOOL], **ASK).choices[0]
assert called.finish_reason == "tool_calls"
assert called.message.tool_calls[0].function.name == "get_weather"
thought = litellm.completion(
    messages=[{"role": "user", "content": "What is 274 + 389?"}],
    extra_body={"chat_template_kwargs": {"enable_thinking": True}},
    **ASK,
)
assert "663" in thought.choices[0].message.reasoning_content
