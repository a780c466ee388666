"""Strings of a JSON schema as regular expressions for the grammar of calls, where nothing is escaped."""

from collections.abc import Mapping
from typing import Any, NoReturn

from llguidance import regex_to_lark

from gemcut.errors import BadConstraint

YEAR, LEAP_YEAR = r"[12][0-9]{3}", r"([12][0-9](0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)"
MONTHS = (  # each with the days that it has in every year
    r"(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
)
DAY = rf"({YEAR}-({MONTHS})|{LEAP_YEAR}-02-29)"
CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
LABEL = r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
HOST = rf"({LABEL}\.){{1,4}}[a-z]{{2,8}}"
FORMATS = {
    "date": DAY,
    "time": CLOCK,
    "date-time": rf"{DAY}T{CLOCK}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": rf"({BYTE}\.){{3}}{BYTE}",
    "hostname": HOST,
    "email": rf"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@{HOST}",
    "uri": rf"https?://{HOST}(:[0-9]{{2,5}})?(/[A-Za-z0-9_.~%-]*)*(\?[A-Za-z0-9_.~%&=+-]*)?",
}


def string_terminal(where: str, schema: Mapping[str, Any]) -> str:
    """The strings of a schema as a Lark expression.  Raises BadConstraint, naming the keyword."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    given = [keyword for keyword in ("pattern", "format") if keyword in schema]
    if given and (len(given) == 2 or least or most is not None):
        _fail(where, f"has {given[0]} beside {' '.join(given[1:]) or 'a length'}; write all in the pattern")
    if "format" in schema:
        if schema["format"] not in FORMATS:
            _fail(where, f"has the format {schema['format']!r}; allowed are {', '.join(FORMATS)}")
        return f"/{regex_to_lark(FORMATS[schema['format']], 'dw')}/"
    if "pattern" in schema:
        return f"/{_anchored(where, schema['pattern'])}/"
    if most is not None and most < least:
        _fail(where, f"has minLength {least} above maxLength {most}; correct one of them")
    if not least and most is None:
        return "TEXT"
    return f"/(?s:.{{{least},{'' if most is None else most}}})/"


def _anchored(where: str, pattern: str) -> str:
    """A pattern that may match anywhere in a string, as one that matches the string whole."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith(r"\$")
    inner = pattern[begins : len(pattern) - ends]
    if (begins or ends) and _has_open_choice(inner):
        _fail(where, f"has the pattern {pattern!r} with a choice outside of parentheses; put them around it")
    whole = f"{'' if begins else '(?s:.*)'}({inner}){'' if ends else '(?s:.*)'}"
    return regex_to_lark(whole, "dw")


def _has_open_choice(pattern: str) -> bool:
    """Whether a | stands outside of all parentheses and character classes."""
    depth, in_class, escaped = 0, False, False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == "|" and depth == 0:
            return True
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
    return False


def _fail(where: str, problem: str) -> NoReturn:
    raise BadConstraint(f"{where} {problem}; or let calls be free with constrain_tools=False")
