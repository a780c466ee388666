"""A tiny MCP server: run as a program over stdio, or with a port over HTTP."""

import io
import sys

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from PIL import Image as Picture

server = MCPServer("example")


@server.tool()
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@server.tool()
def photo() -> list[str | Image]:
    """Take a photo."""
    file = io.BytesIO()
    Picture.new("RGB", (6, 4), "red").save(file, "PNG")
    return ["a photo:", Image(data=file.getvalue(), format="png")]


@server.tool()
def fail(reason: str) -> str:
    """Fail for a reason."""
    raise ToolError(reason)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
