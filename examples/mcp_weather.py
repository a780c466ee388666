"""A small MCP server with one tool, for the README: it speaks over its standard input and output."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def get_weather(city: str) -> str:
    """The weather in a city right now."""
    return f"windy in {city}"


if __name__ == "__main__":
    server.run()
