"""Forms with files in them (multipart/form-data) → fields: text as strings, files as bytes.

A body that was read whole needs no parser that works in pieces: it is split at its boundary.
"""

from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any, NoReturn

from gemcut.server.refusal import Refusal

MOST_PARTS = 256
MOST_HEAD_BYTES = 16_384  # of a part
PLAIN_ENCODINGS = ("7bit", "8bit", "binary")


def read_form(body: bytes | bytearray, content_type: str) -> dict[str, Any]:
    """The form's fields by name: str, bytes of a file, or, where the name ends in [], a list of them.

    Raises Refusal 400 for what is no such form, and for a field that comes twice.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        _refuse("its content-type names no boundary")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"), MOST_PARTS + 1)
    if len(parts) > MOST_PARTS:
        _refuse(f"it has more than {MOST_PARTS} parts")
    if not parts or not parts.pop().startswith(b"--"):
        _refuse("it breaks off before its end")
    fields: dict[str, Any] = {}
    for part in parts:
        name, value = _field(part)
        if name.endswith("[]"):
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise Refusal(400, f"{name} is given twice", param=name, code="invalid_value")
        else:
            fields[name] = value
    return fields


def _field(part: bytes) -> tuple[str, str | bytes]:
    """The name and the value of what stands between two boundaries."""
    begin, _, rest = part.partition(b"\r\n")
    head, blank, content = rest.partition(b"\r\n\r\n")
    if begin.strip(b" \t") or not blank:
        _refuse("one of its parts has no header")
    if len(head) > MOST_HEAD_BYTES:
        _refuse(f"one of its parts has a header of {len(head)} bytes, and {MOST_HEAD_BYTES} are the most")
    headers = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
    name = headers.get_param("name", header="content-disposition")
    if headers.get_content_disposition() != "form-data" or not isinstance(name, str):
        _refuse("one of its parts has no name")
    if headers.get("content-transfer-encoding", "binary").lower() not in PLAIN_ENCODINGS:
        raise Refusal(400, f"{name} is encoded; send its bytes as they are", param=name, code="invalid_form")
    if headers.get_param("filename", header="content-disposition") is not None:
        return name, content
    try:
        return name, content.decode()
    except UnicodeDecodeError:
        raise Refusal(400, f"{name} is no UTF-8 text", param=name, code="invalid_value") from None


def _refuse(why: str) -> NoReturn:
    raise Refusal(400, f"the body is no form: {why}", code="invalid_form")
