"""`gemcut serve`: a model behind OpenAI's and Anthropic's APIs."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from gemcut.cli import options
from gemcut.cli.arguments import EMBEDDED
from gemcut.cli.screen import Screen
from gemcut.family import FAMILIES

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A size (`gemcut list`), a hub id, a folder. Without one: nano."),
]
Host = Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is all of this machine's.")]
Port = Annotated[int, typer.Option(help="The port; 0 takes one that is free.", min=0, max=65535)]
ApiKey = Annotated[
    list[str] | None,
    typer.Option(
        help="Only who sends it may ask; may be repeated. [env: GEMCUT_API_KEY, several with blanks between]",
        envvar="GEMCUT_API_KEY",
        show_envvar=False,
    ),
]
Name = Annotated[
    list[str] | None, typer.Option(help="What requests call the model; may be repeated.  [default: MODEL]")
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name by which requests may call this server; may be repeated.  [default: at a loopback "
        "address this machine's own names, elsewhere any]",
    ),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN", help="Pages of this origin may ask from a browser; * for all; may be repeated."
    ),
]
MediaHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST", help="Fetch images, sound and video that URLs of this host name; may be repeated."
    ),
]
MaxBodyMb = Annotated[int, typer.Option(help="The largest request, in MB.", min=1)]
MaxMedia = Annotated[int, typer.Option(help="The most images, recordings and videos of a request.", min=0)]
MaxReplyTokens = Annotated[
    int | None, typer.Option(help="The longest reply.  [default: what the context holds]", min=1)
]
MaxInFlight = Annotated[
    int | None, typer.Option(help="Requests at work.  [default: twice what the engine runs at once]", min=1)
]
MaxWaiting = Annotated[int, typer.Option(help="Requests that wait; beyond them, 429.", min=0)]
Timeout = Annotated[float, typer.Option(help="The longest that a request may take, in seconds.", min=1)]
Drain = Annotated[
    float, typer.Option(help="How long requests under way are waited for at the end, in seconds.", min=0)
]
LogPrompts = Annotated[bool, typer.Option("--log-prompts", help="Write what people ask into the log.")]
CacheBytes = Annotated[
    int | None, typer.Option(help="Memory for keys and values.  [default: half of what is free]", min=1)
]
MaxRunning = Annotated[
    int | None, typer.Option(help="Sequences in a step of the engine.  [default: 16; GPU: 256]", min=1)
]
StepTokens = Annotated[
    int | None,
    typer.Option(help="Tokens read or made in a step of the engine.  [default: 512; GPU: 2048]", min=1),
]
PageTokens = Annotated[int, typer.Option(help="What beginnings that prompts share are cut to.", min=1)]
KvDtype = Annotated[
    str | None,
    typer.Option(
        help="int8 keeps keys and values in half the memory, not quite exactly.", show_default=False
    ),
]
BatchInvariant = Annotated[
    bool,
    typer.Option(
        "--batch-invariant", help="Same seed, same answer, whatever runs beside it, to the last bit; slower."
    ),
]
Speculate = Annotated[
    str, typer.Option(help="How tokens are guessed ahead: auto, lookup, drafter, off; answers stay the same.")
]
MaxDrafts = Annotated[int, typer.Option(help="The most tokens that are guessed at once.", min=1)]


def serve(
    model: Model = EMBEDDED,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKey = None,
    name: Name = None,
    allowed_host: AllowedHost = None,
    cors_origin: CorsOrigin = None,
    media_host: MediaHost = None,
    max_body_mb: MaxBodyMb = 64,
    max_media: MaxMedia = 64,
    max_reply_tokens: MaxReplyTokens = None,
    max_in_flight: MaxInFlight = None,
    max_waiting: MaxWaiting = 1024,
    timeout: Timeout = 1800,
    drain: Drain = 60,
    log_prompts: LogPrompts = False,
    cache_bytes: CacheBytes = None,
    max_running: MaxRunning = None,
    step_tokens: StepTokens = None,
    page_tokens: PageTokens = 16,
    kv_dtype: KvDtype = None,
    batch_invariant: BatchInvariant = False,
    speculate: Speculate = "auto",
    max_drafts: MaxDrafts = 5,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    drafter: options.Drafter = None,
) -> None:
    """Serve a model: OpenAI's and Anthropic's APIs, and a page for the browser.

    The log goes to stderr, a line of JSON a request, without what was asked and answered.
    SIGTERM and Ctrl-C let requests under way end.
    """
    screen = Screen()
    with screen.waiting("loading torch …"):
        from gemcut.cli.opening import Loading, open_model
        from gemcut.engine.options import EngineOptions
        from gemcut.server.hosts import names_allowed
        from gemcut.server.log import Log
        from gemcut.server.models import Models, Served
        from gemcut.server.options import MB, ServerOptions
        from gemcut.server.program import listen, run, url_of
        from gemcut.server.serving import Serving

    allowed = ServerOptions(
        api_keys=tuple(api_key or ()),
        allowed_hosts=names_allowed(host, allowed_host or ()),
        cors_origins=tuple(cors_origin or ()),
        media_hosts=tuple(media_host or ()),
        most_body_bytes=max_body_mb * MB,
        most_media=max_media,
        most_reply_tokens=max_reply_tokens,
        most_in_flight=max_in_flight,
        most_waiting=max_waiting,
        request_s=timeout,
        drain_s=drain,
        log_prompts=log_prompts,
    )
    engine = EngineOptions(
        cache_bytes=cache_bytes,
        page_tokens=page_tokens,
        step_tokens=step_tokens,
        max_running=max_running,
        batch_invariant=batch_invariant,
        speculate=cast("Any", speculate),  # EngineOptions refuses what is none of its words
        max_drafts=max_drafts,
        kv_dtype=cast("Any", kv_dtype),
    )
    listening = listen(host, port)  # before the model is loaded: that may take long
    how = Loading(device=device, dtype=dtype, offline=offline, drafter=drafter, engine=engine)
    gemma = open_model(model, how, screen)
    for line in gemma.memory.lines():
        screen.note(line)
    served = Served(gemma, tuple(name) if name else names_of(model), int(time.time()))
    screen.note(f"{served.name} · {url_of(listening)} · Ctrl-C stops")
    run(Serving.of(Models([served]), allowed, Log(sys.stderr)), listening)


def names_of(source: str) -> tuple[str, ...]:
    """How requests may call a model: the size and its hub id, or the folder's own name."""
    for row in FAMILIES:
        if source in (row.name, row.hub_id):
            return (row.name,) if row.hub_id is None else (row.name, row.hub_id)
    is_path = Path(source).is_dir() or source.endswith(".gguf")
    return (Path(source).resolve().name,) if is_path else (source,)
