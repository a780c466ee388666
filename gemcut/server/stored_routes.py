"""What can be done with stored responses and conversations, beside going on with them."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gemcut.server.answer_schemas import CONVERSATION, DELETED, ITEMS, RESPONSE
from gemcut.server.fields import Fields, Read, Refused, read_fields
from gemcut.server.operations import OF_BODY, Operation
from gemcut.server.refusal import Refusal
from gemcut.server.response import with_id
from gemcut.server.response_fields import Metadata
from gemcut.server.response_items import Item
from gemcut.server.serving import Serving
from gemcut.server.store import Store, Stored

Handler = Callable[[Request], Awaitable[Response]]
MOST_LISTED = 100


class NewConversation(Fields):
    """A conversation, and what it begins with."""

    items: list[Item] | None = None
    metadata: Metadata | None = None


class ChangedConversation(Fields):
    """A conversation's new metadata."""

    metadata: Metadata


class NewItems(Fields):
    """Items for a conversation's end."""

    items: Annotated[list[Item], Field(min_length=1)]


class Paging(Fields):
    """Which of the items are listed: those behind an id, in which order, and how many."""

    after: str | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 20


class Retrieving(Fields):
    """Nothing can be chosen."""

    refused = {"stream": Refused("a stored response is told whole", ("false", "False"))}


class StoredRoutes:
    """The handlers of these routes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def response(self, request: Request) -> Response:
        """A response."""
        read_fields(Retrieving, dict(request.query_params))
        return JSONResponse(self._serving.store.get(_name(request), "response").shown)

    async def delete_response(self, request: Request) -> Response:
        """Forgets a response."""
        self._serving.store.delete(_name(request), "response")
        return JSONResponse({"id": _name(request), "object": "response", "deleted": True})

    async def input_items(self, request: Request) -> Response:
        """What a response answers."""
        return _listed(request, self._serving.store.get(_name(request), "response").given)

    async def create(self, request: Request) -> Response:
        """A new conversation."""
        asked = await self._read(NewConversation, request)
        shown = {
            "id": f"conv_{secrets.token_hex(16)}",
            "object": "conversation",
            "created_at": int(time.time()),
            "metadata": asked.metadata or {},
        }
        self._serving.store.put(
            str(shown["id"]),
            Stored("conversation", shown, given=_items(asked.items or [], self._serving.store)),
        )
        return JSONResponse(shown)

    async def conversation(self, request: Request) -> Response:
        """A conversation, without its items."""
        return JSONResponse(self._serving.store.get(_name(request), "conversation").shown)

    async def change(self, request: Request) -> Response:
        """Gives a conversation other metadata."""
        asked = await self._read(ChangedConversation, request)
        before = self._serving.store.get(_name(request), "conversation")
        shown = before.shown | {"metadata": asked.metadata}
        self._serving.store.put(_name(request), Stored("conversation", shown, given=before.given))
        return JSONResponse(shown)

    async def delete_conversation(self, request: Request) -> Response:
        """Forgets a conversation."""
        self._serving.store.delete(_name(request), "conversation")
        return JSONResponse({"id": _name(request), "object": "conversation.deleted", "deleted": True})

    async def items(self, request: Request) -> Response:
        """The items of a conversation."""
        return _listed(request, self._serving.store.get(_name(request), "conversation").given)

    async def add_items(self, request: Request) -> Response:
        """Adds items to a conversation, and lists them."""
        asked = await self._read(NewItems, request)
        before = self._serving.store.get(_name(request), "conversation")
        new = _items(asked.items, self._serving.store)
        given = (*before.given, *new)
        self._serving.store.put(_name(request), Stored("conversation", before.shown, given=given))
        return JSONResponse(_list_json(new, has_more=False))

    async def _read(self, model: type[Read], request: Request) -> Read:
        return await self._serving.of_json(request, lambda given: read_fields(model, given))


def stored_operations(serving: Serving) -> list[Operation]:
    """What can be asked."""
    routes = StoredRoutes(serving)
    response, talk = "/v1/responses/{response_id}", "/v1/conversations/{conversation_id}"
    paging = Paging.model_json_schema()["properties"]

    def gets(path: str, handler: Handler, schema: Mapping[str, Any], **more: Any) -> Operation:
        errors = (400, 404) if more else (404,)
        return _operation("GET", path, handler, gives=schema, errors=errors, **more)

    def posts(path: str, handler: Handler, takes: type[Fields], schema: Mapping[str, Any]) -> Operation:
        return _operation("POST", path, handler, takes=takes, gives=schema, errors=(*OF_BODY, 404))

    def deletes(path: str, handler: Handler) -> Operation:
        return _operation("DELETE", path, handler, gives=DELETED, errors=(404,))

    return [
        gets(response, routes.response, RESPONSE, query={}),
        deletes(response, routes.delete_response),
        gets(f"{response}/input_items", routes.input_items, ITEMS, query=paging),
        posts("/v1/conversations", routes.create, NewConversation, CONVERSATION),
        gets(talk, routes.conversation, CONVERSATION),
        posts(talk, routes.change, ChangedConversation, CONVERSATION),
        deletes(talk, routes.delete_conversation),
        gets(f"{talk}/items", routes.items, ITEMS, query=paging),
        posts(f"{talk}/items", routes.add_items, NewItems, ITEMS),
    ]


def _operation(method: str, path: str, handler: Handler, **more: Any) -> Operation:
    summary = str(handler.__doc__).splitlines()[0]
    return Operation(method=method, path=path, summary=summary, handler=handler, **more)


def _name(request: Request) -> str:
    (name,) = request.path_params.values()
    return str(name)


def _items(items: list[Any], store: Store) -> tuple[dict[str, Any], ...]:
    return tuple(with_id(store.resolved(item.model_dump(exclude_none=True))) for item in items)


def _listed(request: Request, items: tuple[dict[str, Any], ...]) -> Response:
    """A page of items.  Raises Refusal for a page that cannot be."""
    given: dict[str, Any] = dict(request.query_params)
    if re.fullmatch(r"[0-9]{1,9}", given.get("limit", "")):
        given["limit"] = int(given["limit"])
    paging = read_fields(Paging, given)
    ordered = items if paging.order == "asc" else items[::-1]
    if paging.after is not None:
        places = [place for place, item in enumerate(ordered) if item["id"] == paging.after]
        if not places:
            raise Refusal(400, f"there is no item {paging.after!r} to list after", param="after")
        ordered = ordered[places[0] + 1 :]
    return JSONResponse(_list_json(ordered[: paging.limit], has_more=len(ordered) > paging.limit))


def _list_json(items: tuple[dict[str, Any], ...], has_more: bool) -> dict[str, Any]:
    ends = (
        {"first_id": items[0]["id"], "last_id": items[-1]["id"]}
        if items
        else {"first_id": None, "last_id": None}
    )
    return {"object": "list", "data": list(items), "has_more": has_more, **ends}
