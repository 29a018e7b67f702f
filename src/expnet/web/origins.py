"""Who may ask: clients that use a name of this server, its own pages, and programs; never the pages of others."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from expnet.errors import InputError, RefusedError

EVENT = "application/cloudevents+json"
BINARY = "inference-header-content-length"  # of V2's binary tensors
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")  # they change nothing
_OURS = ("same-origin", "none")  # of Sec-Fetch-Site; none is a person, not a page
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ONCE = ("host", "origin", "sec-fetch-site", "content-type", BINARY)  # of two, others might read the other one
_EVERY_ADDRESS = {"0.0.0.0", "::"}


def known_names(given: Iterable[str]) -> frozenset[str]:
    """Return names of a server as Host headers are compared with them: lower case, no final dot, ASCII.

    Raises:
        InputError: If one is neither a name nor an address, such as a URL, or a name with a port.
    """
    return frozenset(map(_known, given))


def check_request(scope: Scope, names: frozenset[str] | None) -> None:
    """Refuse what another site may have sent.

    A page of another site can reach a server on this machine in two ways. It can use a name of its own for it (DNS
    rebinding), so only known names are accepted. And it can send a form, which browsers do without asking the server,
    so a request that may change something must come from a page of this server, as told by the `Origin` that browsers
    send with it, or be declared as JSON, which a browser sends to another site only after asking.

    Args:
        scope: The request.
        names: As from `known_names`, or None for any. An address that stands for all addresses of a machine (0.0.0.0,
            ::) admits every address, because a page of another site cannot have one of this machine's.

    Raises:
        RefusedError: With 421 for an unknown name, 403 for a page of another origin and for a browser that does not say
            which page asks, 415 for a body that neither names its page nor is declared as JSON, 400 if one of these
            headers comes twice.
    """
    headers = Headers(scope=scope)
    if twice := [name for name in _ONCE if len(headers.getlist(name)) > 1]:
        raise RefusedError(400, f"Expected the header {twice[0]} once, got it {len(headers.getlist(twice[0]))} times.")
    host = headers.get("host", "")
    if names is not None and not _answered(host, names):
        raise RefusedError(421, "This server does not answer under that name; --allow-host makes it.")
    if scope["method"] in _SAFE:
        return
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and not _same(origin, host):
        raise RefusedError(
            403,
            f"Pages of other sites may not use this server: the page is of {origin[:100]!r}, and this request went to "
            f"{host[:100]!r}. A proxy between them must pass the Host header on.",
        )
    if site is not None and site not in _OURS:
        raise RefusedError(403, "Pages of other sites may not use this server.")
    if site is None and any(name.startswith("sec-fetch-") for name in headers):
        raise RefusedError(403, "Browsers send Sec-Fetch-Site beside Sec-Fetch-Mode and -Dest; this request lacks it.")
    # Pages of others can set no header of this name without asking.
    declared = BINARY in headers or declares_json(headers.get("content-type", ""))
    if origin is None and site is None and not declared:
        raise RefusedError(
            415,
            "Expected a body of the content type application/json: set that header. Forms are taken from this server's "
            "own pages, whose browser names them in Origin.",
        )


def declares_json(content_type: str) -> bool:
    """Return whether a Content-Type header declares JSON, or an event in JSON, with any parameters."""
    return media_type(content_type) in ("application/json", EVENT)


def media_type(content_type: str) -> str:
    """Return a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _known(given: str) -> str:
    name = _plain(given.removeprefix("[").removesuffix("]"))
    if not _is_address(name):
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            name = ""
        if not _NAME.fullmatch(name):
            raise InputError(
                f"Expected the name or the address of a host, such as explain.example.org, got {given!r}: leave out "
                "scheme, port and path."
            )
    return name


def _answered(host: str, names: frozenset[str]) -> bool:
    parts = _parted(host)
    if parts is None:
        return False
    return parts[0] in names or (_is_address(parts[0]) and not names.isdisjoint(_EVERY_ADDRESS))


def _same(origin: str, host: str) -> bool:
    """Return whether an origin is the host of the request; a missing port is the default of the origin's scheme."""
    scheme, _, rest = origin.partition("://")
    theirs, ours, usual = _parted(rest), _parted(host), _PORTS.get(scheme.lower())
    if theirs is None or ours is None or usual is None:
        return False
    return theirs[0] == ours[0] and _port(theirs[1], usual) == _port(ours[1], usual)


def _port(given: int | None, usual: int) -> int:
    return usual if given is None else given


def _parted(host: str) -> tuple[str, int | None] | None:
    """Return name and port of a Host header; None if it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (_plain(name), port) if name and parts.netloc == host and "@" not in host else None


def _plain(name: str) -> str:
    """Return a name in lower case without its final dot, and an address as it is usually written."""
    name = name.lower().removesuffix(".")
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
