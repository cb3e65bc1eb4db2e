"""What is concluded from what was seen of a server, without one; and what is seen of servers that are none."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from neuroroute.doctor import Limits, examine
from neuroroute.doctor.door import PATHS, Door, Page, Try
from neuroroute.doctor.reach import has_route, reached
from neuroroute.simulator import ChaosProxy, Fail, FaultPlan

V1 = Page(status=200, body=b'{"data":[{"id":"llama3"}]}', ms=5.0)
GREETING = Page(status=200, body=b'{"lmstudio":true}', ms=2.0)
MISSING = Page(status=404)


def door(url="http://localhost:1234/v1", **more):
    pages = {"/lmstudio-greeting": GREETING, "/": MISSING, **dict.fromkeys(PATHS, MISSING), "/v1/models": V1}
    pages |= more.pop("pages", {})
    tries = more.pop("tries", (Try(address="127.0.0.1", failure=None, ms=1.0),))
    return Door(url=url, tries=tries, pages=pages, **more)


def all_fail(failure):
    return dict.fromkeys(("/lmstudio-greeting", "/", *PATHS), Page(failure=failure))


def codes(seen, environ=None, *, token=False):
    return [one.code for one in reached(seen, token=token, environ=environ or {})]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (door(), "server-reachable"),
        (Door(url="http://nowhere:1/v1", known=False), "server-host-unknown"),
        (door(tries=(Try(address="10.0.0.9", failure="timeout", ms=9.0),)), "server-no-route"),
        (door(tries=(Try(address="10.0.0.9", failure="unreachable", ms=9.0),)), "server-no-route"),
        (door(tries=(Try(address="10.0.0.9", failure="refused", ms=9.0),)), "server-not-reachable"),
        (door(pages=all_fail("closed"), other_scheme=Page(status=200)), "plain-on-tls-port"),
        (door(pages={"/v1/models": Page(status=400, body=b"sent to HTTPS port")}, other_scheme=Page(status=200)),
         "plain-on-tls-port"),
        (door("https://localhost:1234/v1", pages=all_fail("tls"), other_scheme=Page(status=404)), "tls-on-plain-port"),
        (door("https://localhost:1234/v1", pages=all_fail("untrusted"), other_scheme=MISSING), "tls-untrusted"),
        (door(pages=all_fail("closed")), "connection-lost"),
        (door(pages=all_fail("not-http")), "not-an-api"),
        (door(pages=all_fail("timeout")), "server-hangs"),
        (door(pages={"/v1/models": Page(status=401, body=b"LM Studio API token")}), "token-required"),
        (door(pages={"/v1/models": Page(status=302, location="https://user:pw@there/x")}), "server-redirects"),
        (door(pages={"/v1/models": Page(status=429)}), "rate-limited"),
        (door(pages={"/v1/models": Page(status=402)}), "quota-exceeded"),
        (door(pages={"/v1/models": Page(status=503, body=b"Loading model")}), "model-loading"),
        (door(pages={"/v1/models": Page(status=502, body=b"<html>")}), "server-error"),
        (door("http://localhost:1234/x/v1", pages=dict.fromkeys(PATHS, MISSING), at_root={"/v1/models": V1}),
         "url-wrong-path"),
        (door(pages={"/v1/models": MISSING}), "url-wrong-path"),
    ],
)  # fmt: skip
def test_what_was_seen_is_judged(seen, expected):
    """Each sight of a server is one finding, which is a problem unless the server can be used."""
    first = reached(seen, token=False, environ={})[0]
    assert first.code == expected
    assert (first.level == "problem") == (expected != "server-reachable")
    assert "pw" not in first.what + first.do


def test_a_server_elsewhere_is_told_where_to_allow_it():
    """What refuses on another machine is told how LM Studio listens for others."""
    (one,) = reached(door("http://10.0.0.9:1234/v1", tries=(Try(address="10.0.0.9", failure="refused", ms=1.0),)),
                     token=False, environ={})  # fmt: skip
    assert "Serve on Local Network" in one.do


def test_the_trap_of_localhost():
    """Where localhost means ::1 first and only 127.0.0.1 answers, other clients are warned; the reverse is no trap."""
    six, four = Try(address="::1", failure="refused", ms=1.0), Try(address="127.0.0.1", failure=None, ms=1.0)
    assert codes(door(tries=(six, four))) == ["server-reachable", "localhost-trap"]
    assert codes(door(tries=(four, six))) == ["server-reachable"]


@pytest.mark.parametrize(
    ("environ", "caught"),
    [
        ({"HTTP_PROXY": "http://user:secret@proxy:1"}, True),
        ({"http_proxy": "http://proxy:1", "no_proxy": "localhost"}, False),
        ({"ALL_PROXY": "socks5://proxy:1", "NO_PROXY": "example.com, .local"}, True),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, False),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "localhost:1234"}, False),
        ({"HTTPS_PROXY": "http://proxy:1"}, False),
        ({"HTTP_PROXY": " "}, False),
    ],
)
def test_proxies_that_others_would_use(environ, caught):
    """A proxy variable that catches the address is a hint, by the variable's name; its value is never told."""
    findings = reached(door(), token=False, environ=environ)
    assert ("proxy-catches" in [one.code for one in findings]) is caught
    assert not any("secret" in one.what + one.do or "user" in one.what + one.do for one in findings)


def test_slow_and_partly_broken_servers():
    """A slow network is a hint; a server of which some pages are lost or fail is no healthy one."""
    slow = door(pages=dict.fromkeys(("/lmstudio-greeting", "/", *PATHS), msgspec.structs.replace(V1, ms=1500.0)))
    assert "network-slow" in codes(slow)
    for failure, code in (("timeout", "server-hangs"), ("cut", "connection-lost"), ("slow", "network-slow")):
        assert codes(door(pages={"/api/v1/models": Page(failure=failure)})) == ["server-reachable", code]
    assert codes(door(pages={"/api/v1/models": Page(status=500)})) == ["server-reachable", "server-error"]
    late = msgspec.structs.replace(V1, ms=1500.0)
    both = dict.fromkeys(("/lmstudio-greeting", "/", *PATHS), late) | {"/api/v0/models": Page(failure="slow")}
    assert codes(door(pages=both)).count("network-slow") == 1  # and it is told once


def test_routes_are_known_by_what_they_say():
    """LM Studio tells of an unknown route in a 200; a refusal of an empty request proves that the route is there."""
    assert not has_route(None)
    assert not has_route(Page(status=200, body=b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}'))
    assert not has_route(Page(status=404))
    assert has_route(Page(status=400, body=b'{"error":"input is required"}'))


# ── Servers that are none ────────────────────────────────────────────────────────────────────────────────────────────


def has_six():
    """Whether ::1 can be listened at."""
    with socket.socket(socket.AF_INET6) as held, suppress(OSError):
        held.bind(("::1", 0))
        return True
    return False


@contextmanager
def web_server(pages, host="127.0.0.1", port=0):
    """A web server in a thread, with so many pages."""

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        do_POST = do_GET  # noqa: N815 - the name is not ours

        def log_message(self, *_):
            pass

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def speaks(words):
    """A server that says something to whoever connects, and leaves."""

    async def talk(_, writer):
        writer.write(words)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def examined(url, **more):
    return await examine(url, environ={}, limits=Limits(page=3.0, answer=3.0), quick=True, **{"ports": (), **more})


async def test_a_web_server_is_known_as_one(lmstudio):
    """What has pages and no models is told by its name, and where LM Studio is instead."""
    with web_server({"/": b"<html>hello</html>"}) as port:
        report = await examined(f"127.0.0.1:{port}", ports=(lmstudio.port,))
    assert report.first.code == "not-an-api"
    assert "a web server (BaseHTTP" in report.first.what
    assert report.first.do == f"Use --url http://127.0.0.1:{lmstudio.port}/v1"


@pytest.fixture
def names(monkeypatch):
    """Says which addresses the name two-homes has."""
    real = socket.getaddrinfo

    def names(*addresses):
        def look_up(host, port, *more, **named):
            if host != "two-homes":
                return real(host, port, *more, **named)
            return [one for address in addresses for one in real(address, port, *more, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return names


needs_six = pytest.mark.skipif(not has_six(), reason="this machine has no ::1")


@needs_six
async def test_the_other_family(lmstudio, names):
    """Where nothing listens at ::1, or a name means ::1 alone, 127.0.0.1 is looked at, too, at the same port."""
    port = lmstudio.port
    names("::1")
    for host in ("[::1]", "two-homes"):
        report = await examined(f"{host}:{port}")
        assert (report.first.code, report.first.do) == ("server-on-other-address", f"Use --url {lmstudio.url}")
        assert report.first.what == f"nothing listens at {host}:{port}, but LM Studio answers at 127.0.0.1:{port}"


@needs_six
async def test_two_servers_at_one_name(lmstudio, names):
    """All pages are those of the first address; that another server has the second is told, with the right address."""
    port = lmstudio.port
    with web_server({"/": b"<html>"}, host="::1", port=port):
        names("::1", "127.0.0.1")
        stranger = await examined(f"two-homes:{port}")
        names("127.0.0.1", "::1")
        ours = await examined(f"two-homes:{port}")
    assert (stranger.first.code, stranger.first.do) == ("not-an-api", f"Use --url {lmstudio.url}")
    assert f"LM Studio answers at 127.0.0.1:{port}" in stranger.first.what
    assert (ours.first.code, ours.first.level) == ("localhost-trap", "warning")
    assert ours.first.do == f"Use --url {lmstudio.url}"


async def test_a_narrow_way_is_told(lmstudio):
    """Where a page needs its time to come, by its bytes per second the network is slow, not only the model."""
    async with ChaosProxy(lmstudio.url, *FaultPlan("bandwidth:4000").network) as proxy:
        report = await examined(proxy.url)
    assert [one.code for one in report.findings if one.code == "network-slow"]
    assert "network-slow" not in [one.code for one in (await examined(lmstudio.url)).findings]


async def test_ollama_is_known_as_such():
    """Ollama answers with OpenAI's routes: it can be used, and is no LM Studio."""
    with web_server({"/": b"Ollama is running", "/v1/models": b'{"data":[{"id":"llama3"}]}'}) as port:
        report = await examined(f"127.0.0.1:{port}")
    assert report.findings[0].what.startswith("Ollama answers")
    assert report.healthy


async def test_what_a_server_calls_itself_harms_nothing():
    """Whatever bytes stand in its headers, the report is Unicode text."""
    page = b"HTTP/1.1 200 OK\r\nServer: caf\xe9\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    async with speaks(page) as port:
        report = await examined(f"127.0.0.1:{port}")
    assert report.first.code == "not-an-api"
    assert msgspec.json.encode(report)


async def test_what_speaks_no_http():
    """A mail or SSH server is none of ours."""
    async with speaks(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        report = await examined(f"127.0.0.1:{port}")
    assert report.first.code == "not-an-api"


async def test_addresses_that_miss(lmstudio):
    """HTTPS where http is spoken, and paths that lead beside the API, are told with the address that would be right."""
    secure = await examined(f"https://127.0.0.1:{lmstudio.port}")
    assert (secure.first.code, secure.first.do) == ("tls-on-plain-port", f"Use --url {lmstudio.url}")
    for path in ("/v1/v1", "/lmstudio", "/v1/api"):
        report = await examined(f"127.0.0.1:{lmstudio.port}{path}")
        assert (report.first.code, report.first.do) == ("url-wrong-path", f"Use --url {lmstudio.url}")


async def test_a_listing_that_fails(lmstudio):
    """A server whose listing fails is told by its status."""
    lmstudio.fail(Fail(500, {"error": "oh"}), path="/v1/models")
    lmstudio.fail(Fail(500, {"error": "oh"}), path="/api/v1/models")
    lmstudio.fail(Fail(500, {"error": "oh"}), path="/api/v0/models")
    assert (await examined(lmstudio.url)).first.code == "server-error"
