"""langchain-openai, llama-index, instructor and pydantic-ai; run by test_clients.py with the server's URL."""

import sys

import instructor
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from openai import OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

URL = sys.argv[1] + "/v1"
SUM, PARIS = "What is 274 + 389?", "What is the weather in Paris?"


class City(BaseModel):
    """A city."""

    name: str
    size: int


def langchain() -> None:
    model = ChatOpenAI(model="nano", base_url=URL, api_key="any", max_retries=0)
    assert model.invoke("Hello").content
    assert "".join(str(chunk.content) for chunk in model.stream("Hello")) == model.invoke("Hello").content

    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"18 C, sunny in {city}"

    bound = model.bind_tools([get_weather])
    said = [("user", PARIS)]
    first = bound.invoke(said)
    assert first.tool_calls[0]["args"] == {"city": "Paris"}, first
    second = bound.invoke([*said, first, get_weather.invoke(first.tool_calls[0])])
    assert "18" in str(second.content), second
    for method in ("json_schema", "function_calling"):
        made = model.with_structured_output(City, method=method).invoke("Describe Rome.")
        assert isinstance(made, City), (method, made)


def llama_index() -> None:
    model = OpenAILike(model="nano", api_base=URL, api_key="any", is_chat_model=True, max_retries=0)
    said = [ChatMessage(role="user", content="Hello")]
    whole = model.chat(said).message.content
    assert whole
    assert "".join(str(piece.delta) for piece in model.stream_chat(said)) == whole


def instructors() -> None:
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(OpenAI(base_url=URL, api_key="any", max_retries=0), mode=mode)
        made = client.chat.completions.create(
            model="nano", response_model=City, max_retries=0, messages=[{"role": "user", "content": "Rome?"}]
        )
        assert isinstance(made, City)


def pydantic_ai() -> None:
    model = OpenAIChatModel("nano", provider=OpenAIProvider(base_url=URL, api_key="any"))
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"18 C, sunny in {city}"

    assert "18" in agent.run_sync(PARIS).output
    assert isinstance(Agent(model, output_type=City).run_sync("Describe Rome.").output, City)


for check in (langchain, llama_index, instructors, pydantic_ai):
    check()
    print(check.__name__, "works")
