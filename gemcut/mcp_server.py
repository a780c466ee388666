"""Tools from servers that speak the Model Context Protocol, for agents.  Needs the package `mcp`."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gemcut.errors import BadOption, McpFailed, ToolFailed
from gemcut.prompt.messages import MediaPart
from gemcut.toolbox import AgentTool

INSTALL = "pip install -c constraints.txt -e '.[mcp]'"  # as README.md has it

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from mcp import Client
    from mcp.types import CallToolResult, ContentBlock, Tool


class McpServer:
    """An MCP server while it is open: `with McpServer.stdio([...]) as server: gemma.agent(server.tools)`.

    Its connection lives in a thread of its own, so agents may call several of its tools at once.
    reached: makes what `mcp.Client` takes to reach it, when it is opened.  name: what errors call it.
    timeout_s: how long one answer may take.
    """

    def __init__(self, reached: Callable[[], Any], name: str, timeout_s: float) -> None:
        self._reached = reached
        self._name = name
        self._timeout_s = timeout_s
        self._open = ExitStack()
        self.tools: tuple[AgentTool, ...] = ()

    @classmethod
    def stdio(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        timeout_s: float = 60,
    ) -> Self:
        """A program that is started and spoken to over its standard input and output.

        env: variables beside the few that every program gets (PATH, HOME and the like).
        """
        if isinstance(command, str) or not command:
            raise BadOption(f"the command is {command!r}; give a list, as in ['python', 'server.py']")

        def reached() -> Any:
            given = None if env is None else dict(env)
            return _mcp().StdioServerParameters(
                command=command[0], args=list(command[1:]), env=given, cwd=cwd
            )

        return cls(reached, " ".join(command), timeout_s)

    @classmethod
    def http(cls, url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 60) -> Self:
        """A server at a URL (streamable HTTP).  headers: sent with every request, as for a key."""
        return cls(lambda: _web_transport(url, {} if headers is None else dict(headers)), url, timeout_s)

    def __enter__(self) -> Self:
        """Connects and reads which tools there are.  Raises McpFailed; BadOption without the package."""
        client = _mcp().Client(self._reached(), read_timeout_seconds=self._timeout_s)
        from anyio.from_thread import start_blocking_portal

        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal())
            try:
                session = opening.enter_context(portal.wrap_async_context_manager(client))
                listed = portal.call(_listed, session)
            except Exception as error:  # the package and its transports raise many kinds
                raise McpFailed(f"the MCP server {self._name!r} cannot be used: {_first(error)}") from error
            self.tools = tuple(self._tool(tool, portal, session) for tool in listed)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.tools = ()
        self._open.close()

    def _tool(self, tool: "Tool", portal: "BlockingPortal", session: "Client") -> AgentTool:
        parameters = {key: value for key, value in tool.input_schema.items() if key != "$schema"}
        declaration = {"name": tool.name, "description": tool.description, "parameters": parameters}

        def call(arguments: Mapping[str, Any]) -> Any:
            return _value(portal.call(session.call_tool, tool.name, dict(arguments)))

        return AgentTool(declaration, call)


def _mcp() -> Any:
    try:
        import mcp
    except ImportError as error:
        raise BadOption(f"MCP servers need the package mcp; in gemcut's repository: {INSTALL}") from error
    return mcp


@asynccontextmanager
async def _web_transport(url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    """What carries messages to a URL, with a web client that ends with it."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(30, read=None)  # answers have a time limit of their own
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as web,
        streamable_http_client(url, http_client=web) as streams,
    ):
        yield streams


async def _listed(session: "Client") -> "list[Tool]":
    """All tools, page by page."""
    page = await session.list_tools()
    tools = list(page.tools)
    while page.next_cursor is not None:
        page = await session.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


def _value(result: "CallToolResult") -> Any:
    """What a tool gave: text, media, or the data that it gave instead.  Raises ToolFailed."""
    parts = [_part(block) for block in result.content]
    if result.is_error:
        raise ToolFailed(" ".join(part for part in parts if isinstance(part, str)))
    if not parts:
        return result.structured_content
    return parts[0] if len(parts) == 1 else parts if _has_media(parts) else "\n".join(map(str, parts))


def _part(block: "ContentBlock") -> str | MediaPart:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return MediaPart(block.type, base64.b64decode(block.data))
        case "resource_link":
            return f"{block.name}: {block.uri}"
        case "resource":
            text = getattr(block.resource, "text", None)
            return text if text is not None else f"{block.resource.uri} ({block.resource.mime_type})"


def _has_media(parts: Sequence[str | MediaPart]) -> bool:
    return any(isinstance(part, MediaPart) for part in parts)


def _first(error: BaseException) -> str:
    """The first thing that went wrong, out of what task groups wrap it into."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return text if text else type(error).__name__
