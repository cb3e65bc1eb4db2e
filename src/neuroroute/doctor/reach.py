"""PURE: whether a server can be reached, and what is wrong where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from neuroroute.doctor.door import PATHS, Door, Neighbour, Page, bracketed
from neuroroute.doctor.findings import Finding, found
from neuroroute.doctor.identity import asks_for_token, keys_in, listed, says_loading, web_server, who
from neuroroute.hostlist import normalise_url

_SLOW_MS = 1000.0
_NARROW = 8000.0
"""Bytes per second; a stream of 30 tokens per second takes as many."""
_NARROW_MS = 100.0


def reached(door: Door, *, token: bool, environ: Mapping[str, str]) -> list[Finding]:
    """What is found before any model is asked; the server can be used if nothing of it is a problem.

    Args:
        door: what was seen.
        token: whether a token was sent.
        environ: for the proxies of other clients.
    """
    wrong = _not_there(door) or _not_spoken(door) or _not_allowed(door, token=token) or _not_an_api(door)
    findings = [wrong] if wrong else [_reachable(door), *_losses(door)]
    if wrong is None and token:
        findings.append(_token_found(door))
    if door.opened:
        known = {one.code for one in findings}
        findings += [one for one in (_localhost_trap(door), _slow(door)) if one and one.code not in known]
    if (proxied := _proxied(door, environ)) is not None:
        findings.append(proxied)
    return findings


def _not_there(door: Door) -> Finding | None:
    at = door.at
    if not door.known:
        return found("server-host-unknown", "server", f"the name {door.host!r} has no address")
    if door.opened:
        return None
    if (other := _lm_studio_beside(door)) is not None:
        code = "server-on-other-address" if other.host != door.host else "server-on-other-port"
        what = f"nothing listens at {at}, but LM Studio answers at {_place(door, other)}"
        return found(code, "server", what, do=_other(door))
    if any(one.failure == "refused" for one in door.tries):
        others = [f"{who(one.pages)} at {_place(door, one)}" for one in door.neighbours if who(one.pages)]
        beside = f" (there is {' and '.join(others)})" if others else ""
        do = None
        if not door.is_local:
            do = (
                "On that machine, start LM Studio's server with `lms server start`, and switch on "
                '"Serve on Local Network" in its server settings.'
            )
        return found("server-not-reachable", "server", f"nothing listens at {at}{beside}", do=do)
    why = "no connection in time" if any(one.failure == "timeout" for one in door.tries) else "no way leads there"
    return found("server-no-route", "server", f"{at}: {why}")


def _not_spoken(door: Door) -> Finding | None:
    """The server and we do not speak the same protocol, or it does not speak at all."""
    at, page, other = door.at, door.pages["/v1/models"], door.other_scheme
    https = door.url.startswith("https:")
    if https and page.failure == "untrusted":
        return found("tls-untrusted", "server", f"the certificate of {at} is not trusted")
    if page.failure is None and (https or page.status != 400):
        return None
    if other is not None and other.status and (page.failure or b"HTTPS" in page.body):
        code, right = ("tls-on-plain-port", "http") if https else ("plain-on-tls-port", "https")
        return found(code, "server", f"{at} speaks {right}", do=f"Use --url {_address(door, scheme=right)}")
    failures = {one.failure for one in door.pages.values()}
    if page.failure == "slow":
        return _too_slow(door)
    if failures <= {"timeout"} or (page.failure == "timeout" and not listed(door.pages)):
        return found("server-hangs", "server", f"{at} accepts connections, and answers nothing")
    if failures <= {"not-http", "tls", "closed"} and failures & {"not-http", "tls"}:
        return found("not-an-api", "server", f"what listens at {at} does not speak HTTP{_beside(door)}")
    if page.failure and not listed(door.pages):
        return found("connection-lost", "server", f"{at} closed the connection in the middle of its answer")
    return None


def _not_allowed(door: Door, *, token: bool) -> Finding | None:
    page = door.pages["/v1/models"]
    if page.status in (401, 403):
        by = "LM Studio" if asks_for_token(page.body) else "the server"
        if token:
            return found("token-refused", "token", f"{by} refused the token ({page.status})")
        return found("token-required", "token", f"{by} wants a token, and none is set ({page.status})")
    if 300 <= page.status < 400:
        to = page.location.partition("://")[2].rpartition("@")[2]
        what = f"the server redirects to {to or 'another address'}"
        return found("server-redirects", "server", what, do="Use that address as --url.")
    if page.status == 402:
        return found("quota-exceeded", "server", "requests are refused until somebody pays (402)")
    if page.status == 429:
        return found("rate-limited", "server", "requests are refused: too many (429)")
    if says_loading(page):
        return found("model-loading", "models", "the server is loading its model", level="problem")
    return None


def _not_an_api(door: Door) -> Finding | None:
    at, page = door.at, door.pages["/v1/models"]
    if listed(door.pages):
        return None
    path = urlsplit(door.url).path
    if listed(door.at_root):
        what = f"{who(door.at_root)} is at {at}, but not below {path}"
        return found("url-wrong-path", "server", what, do=f"Use --url {_address(door)}")
    if page.status >= 500:
        return found("server-error", "server", f"{at} answers with {page.status}")
    is_known = who(door.pages)
    if is_known:
        what = f"{is_known} at {at} lists no models below {path}"
        return found("url-wrong-path", "server", what, do=f"Use --url {_address(door)}")
    pages = door.at_root or door.pages
    return found(
        "not-an-api",
        "server",
        f"{web_server(pages)} answers at {at}, and it has no models{_beside(door)}",
        do=_other(door),
    )


def _reachable(door: Door) -> Finding:
    name, at = who(door.pages), door.at
    what = f"{name} answers at {at} in {quickest_ms(door) or 0.0:.0f} ms"
    if name == "LM Studio":
        return found("server-reachable", "server", what)
    return found("not-lm-studio", "server", what, do="")


def _losses(door: Door) -> list[Finding]:
    """Pages that did not come, beside others that did."""
    failures = {one.failure for one in (*door.pages.values(), *door.posts.values())} - {None}
    at = door.at
    if "slow" in failures:
        return [_too_slow(door)]
    if "timeout" in failures:
        return [found("server-hangs", "server", f"{at} does not answer some requests")]
    if failures:
        return [found("connection-lost", "server", f"{at} closes connections in the middle of answers")]
    if any(door.pages[path].status >= 500 and door.pages[path].status != 501 for path in PATHS):
        return [found("server-error", "server", f"{at} answers some requests with errors")]
    return []


def _token_found(door: Door) -> Finding:
    if door.without_token is not None and door.without_token.status == 200:
        return found("token-not-needed", "token", "a token is set, but the server answers without one, too")
    return found("token-accepted", "token", "the token is accepted")


def _localhost_trap(door: Door) -> Finding | None:
    closed = [one.address for one in door.tries if one.failure is not None]
    opened = [one.address for one in door.tries if one.failure is None]
    mine, here = who(door.pages), opened[0]
    stranger = next((one for one in door.neighbours if one.host in opened and who(one.pages) != mine), None)
    if stranger is not None and listed(door.pages):
        theirs = who(stranger.pages) or web_server(stranger.pages)
        what = f"{door.host} means two servers: {mine} at {here}, and {theirs} at {stranger.host}"
        do = f"Use --url {_address(door, host=here)}"
        return found("localhost-trap", "server", what, do=do, level="warning")
    if not closed or door.tries[0].failure is None:
        return None
    what = f"{door.host} means {closed[0]} first, where nobody answers; {opened[0]} does"
    return found("localhost-trap", "server", what, do=f"Write {opened[0]} instead of {door.host} for other clients.")


def _too_slow(door: Door) -> Finding:
    what = f"what {door.at} answers comes too slowly to be read"
    return found("network-slow", "server", what, level="problem")


def _slow(door: Door) -> Finding | None:
    took = quickest_ms(door)
    if took is None or took < _SLOW_MS:
        return _narrow(door)
    return found("network-slow", "server", f"the quickest answer took {took / 1000:.1f} s")


def _narrow(door: Door) -> Finding | None:
    """Where the largest page took its time to come, once it had begun."""
    page = max(door.pages.values(), key=lambda one: len(one.body))
    lasted = page.whole_ms - page.ms
    if lasted < _NARROW_MS or len(page.body) / lasted * 1000 > _NARROW:
        return None
    what = f"answers come with {len(page.body) / lasted * 1000:.0f} bytes per second"
    return found("network-slow", "server", what)


def quickest_ms(door: Door) -> float | None:
    """What the quickest page took; None: none came."""
    return min((one.ms for one in door.pages.values() if one.status), default=None)


def _proxied(door: Door, environ: Mapping[str, str]) -> Finding | None:
    scheme = urlsplit(door.url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name, "").strip()), None)
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if name is None or _is_excepted(door, no_proxy):
        return None
    do = f"Add {door.host} to NO_PROXY for them. To go through it with NeuroRoute: proxy=..."
    return found("proxy-catches", "server", f"{name} is set, and NO_PROXY does not name {door.host}", do=do)


def _is_excepted(door: Door, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names this host: itself, with its port, or a domain above it; ``*`` is all."""
    for entry in (one.strip().lower() for one in no_proxy.split(",")):
        host, _, port = entry.rpartition(":")
        name = (host if port.isdigit() and host else entry).strip("[]").removeprefix("*").removeprefix(".")
        if entry == "*" or (name and (door.host == name or door.host.endswith(f".{name}"))):
            return True
    return False


def on_request(door: Door) -> frozenset[str]:
    """Which models the server would load for a request: with loading on request off, it lists the loaded alone."""
    return keys_in(door.pages["/v1/models"])


def has_route(page: Page | None) -> bool:
    """Whether a route is there, by what it says to an empty request; LM Studio tells of unknown ones in a 200."""
    if page is None or page.failure is not None:
        return False
    return page.status not in (404, 405, 501) and b"Unexpected endpoint" not in page.body


def _address(door: Door, *, scheme: str | None = None, host: str | None = None, port: int | None = None) -> str:
    scheme = scheme or urlsplit(door.url).scheme
    return normalise_url(f"{scheme}://{bracketed(host or door.host)}:{port or door.port}")


def _place(door: Door, other: Neighbour) -> str:
    return f"port {other.port}" if other.host == door.host else f"{bracketed(other.host)}:{other.port}"


def _lm_studio_beside(door: Door) -> Neighbour | None:
    return next((one for one in door.neighbours if who(one.pages) == "LM Studio"), None)


def _beside(door: Door) -> str:
    others = [f"{who(one.pages)} answers at {_place(door, one)}" for one in door.neighbours if who(one.pages)]
    return f"; {' and '.join(others)}" if others else ""


def _other(door: Door) -> str | None:
    other = _lm_studio_beside(door)
    if other is None:
        return None
    scheme = None if other.port == door.port else "http"
    return f"Use --url {_address(door, scheme=scheme, host=other.host, port=other.port)}"
