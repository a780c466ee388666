"""gemcut: the Gemma 4 models in one readable package.

The public names are loaded when they are first used, so that `gemcut --help` does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemcut import errors
    from gemcut.api import Gemma
    from gemcut.engine.sampling_params import SamplingParams
    from gemcut.mcp_server import McpServer
    from gemcut.media.video import VideoOptions
    from gemcut.prompt.media import MediaOptions
    from gemcut.prompt.messages import MediaPart, Message
    from gemcut.toolbox import AgentTool

__all__ = [
    "AgentTool",
    "Gemma",
    "McpServer",
    "MediaOptions",
    "MediaPart",
    "Message",
    "SamplingParams",
    "VideoOptions",
    "errors",
]

_HOMES = {
    "AgentTool": "gemcut.toolbox",
    "Gemma": "gemcut.api",
    "McpServer": "gemcut.mcp_server",
    "MediaOptions": "gemcut.prompt.media",
    "MediaPart": "gemcut.prompt.messages",
    "Message": "gemcut.prompt.messages",
    "SamplingParams": "gemcut.engine.sampling_params",
    "VideoOptions": "gemcut.media.video",
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name == "errors":
        return importlib.import_module("gemcut.errors")
    if name not in _HOMES:
        raise AttributeError(f"gemcut has no {name!r}; its public names are {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)
