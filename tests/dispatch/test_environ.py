"""The environ (PEP 3333 "environ Variables" and "Unicode Issues")."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from bridgeserve.dispatch import environ as module
from bridgeserve.dispatch.base import Endpoint
from bridgeserve.dispatch.environ import Environs
from dispatch.fake_port import TCP, FakePort, make_request


def make(
    target: bytes = b"/",
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    method: bytes = b"GET",
    body: bytes = b"",
    version: str = "1.1",
    endpoint: Endpoint = TCP,
    root_path: str = "",
) -> dict[str, Any]:
    port = FakePort(make_request(method, target, headers, body, version), endpoint)
    return Environs(root_path, True, False).make(port)


def test_a_get_has_the_keys_of_cgi() -> None:
    environ = make(b"/a/b?x=1&y=%20", [(b"host", b"example.test"), (b"accept", b"*/*")])
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "x=1&y=%20",
        "RAW_URI": "/a/b?x=1&y=%20",
        "REQUEST_URI": "/a/b?x=1&y=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": "bridgeserve",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "example.test",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {key: environ.get(key) for key in expected} == expected
    rest = {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "bridgeserve.disconnected"}
    assert environ.keys() == expected.keys() | rest
    assert type(environ) is dict  # PEP 3333: a builtin dictionary, no subclass


def test_each_request_has_a_dict_of_its_own() -> None:
    environs = Environs("", True, False)
    environs.make(FakePort())["leaked"] = True
    assert "leaked" not in environs.make(FakePort())


@pytest.mark.parametrize(("multithread", "multiprocess"), [(True, False), (False, True), (False, False)])
def test_the_flags_are_what_the_mode_says(multithread: bool, multiprocess: bool) -> None:
    environ = Environs("", multithread, multiprocess).make(FakePort())
    assert (environ["wsgi.multithread"], environ["wsgi.multiprocess"]) == (multithread, multiprocess)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/plain", "/plain"),
        (b"/a%20b", "/a b"),
        (b"/caf%C3%A9", "/caf\xc3\xa9"),  # the octets of UTF-8, each as a character
        (b"/caf\xc3\xa9", "/caf\xc3\xa9"),
        (b"/%2541", "/%41"),  # decoded once
        (b"/a%2Fb", "/a/b"),
        (b"/%", "/%"),
        (b"/%zz", "/%zz"),
        (b"/a+b", "/a+b"),
        (b"*", "*"),
    ],
)
def test_the_path_is_decoded_once_as_latin_1(target: bytes, path: str) -> None:
    environ = make(target)
    assert environ["PATH_INFO"] == path
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == target.decode("latin-1")


@pytest.mark.parametrize(
    ("root", "target", "script", "path"),
    [
        ("", b"/app/x", "", "/app/x"),
        ("/app", b"/app/x", "/app", "/x"),
        ("/app/", b"/app/x", "/app", "/x"),
        ("/app", b"/app", "/app", ""),
        ("/app", b"/app/", "/app", "/"),
        ("/app", b"/apple", "/app", "/apple"),
        ("/app", b"/x", "/app", "/x"),
        ("/app", b"/%61pp/x", "/app", "/x"),
        ("/caf\u00e9", b"/caf%C3%A9/x", "/caf\xc3\xa9", "/x"),
        ("/", b"/x", "", "/x"),
    ],
)
def test_the_root_path_is_taken_off_where_the_path_lies_under_it(
    root: str, target: bytes, script: str, path: str
) -> None:
    environ = make(target, root_path=root)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)


def test_repeated_fields_are_one_list_and_cookies_one_cookie() -> None:
    headers = [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2"), (b"x-a", b"")]
    environ = make(headers=headers)
    assert environ["HTTP_X_A"] == "1,2,"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_a_name_with_an_underscore_is_dropped() -> None:
    environ = make(headers=[(b"x_user", b"evil"), (b"x-user", b"good"), (b"content_length", b"9")])
    assert environ["HTTP_X_USER"] == "good"
    assert "CONTENT_LENGTH" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ


def test_proxy_is_dropped() -> None:
    assert "HTTP_PROXY" not in make(headers=[(b"proxy", b"http://evil.test")])


def test_content_fields_have_the_names_of_cgi() -> None:
    environ = make(method=b"POST", headers=[(b"content-type", b"text/plain")], body=b"hello")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "5")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()
    assert environ["wsgi.input"].read() == b"hello"


def chunked() -> FakePort:
    request = make_request(b"POST", headers=[(b"transfer-encoding", b"chunked")])
    request.chunked = True
    return FakePort(request)


def test_a_chunked_body_of_unknown_length_has_no_content_length() -> None:
    environ = Environs("", True, False).make(chunked())
    assert not {"CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"} & environ.keys()
    assert environ["wsgi.input_terminated"] is True


def test_a_chunked_body_that_was_collected_is_told_as_one_with_a_length() -> None:
    port = chunked()
    port.request.content_length = 5
    environ = Environs("", True, False).make(port)
    assert environ["CONTENT_LENGTH"] == "5"
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_values_are_latin_1() -> None:
    assert make(headers=[(b"x-name", b"caf\xc3\xa9\xff")])["HTTP_X_NAME"] == "caf\xc3\xa9\xff"


def test_every_text_of_the_environ_is_a_native_string() -> None:
    headers = [(b"host", b"h"), (b"x-a", b"1"), (b"content-type", b"a/b")]
    environ = make(b"/a?b", headers, method=b"PATCH", body=b"1")
    assert [key for key, value in environ.items() if "." not in key and type(value) is not str] == []


def test_a_method_that_nobody_knows() -> None:
    assert make(method=b"BREW")["REQUEST_METHOD"] == "BREW"


def test_http_1_0() -> None:
    assert make(version="1.0", headers=[])["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_a_unix_socket_has_no_port_and_the_server_still_a_name() -> None:
    environ = make(endpoint=Endpoint("http", None, ("/run/app.sock", None)))
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ
    assert environ["SERVER_NAME"] and environ["SERVER_PORT"].isdigit()  # PEP 3333: they can never be empty


def test_https() -> None:
    assert make(endpoint=Endpoint("https", ("::1", 1), ("::1", 443)))["wsgi.url_scheme"] == "https"


def test_disconnected_tells_the_truth() -> None:
    port = FakePort()
    disconnected = Environs("", True, False).make(port)["bridgeserve.disconnected"]
    assert disconnected() is False
    port.leave()
    assert disconnected() is True


def test_the_memo_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEYS", {})
    for number in range(module._KEYS_MAX + 10):
        assert make(headers=[(b"x-%d" % number, b"1")])[f"HTTP_X_{number}"] == "1"
    assert len(module._KEYS) == module._KEYS_MAX
    long = b"x" * (module._KEY_KEPT + 1)
    monkeypatch.setattr(module, "_KEYS", {})
    assert make(headers=[(long, b"1")])["HTTP_" + long.decode().upper()] == "1"
    assert module._KEYS == {}


class TestErrors:
    """wsgi.errors."""

    @pytest.fixture
    def errors(self) -> Any:
        return make()["wsgi.errors"]

    def test_each_line_is_a_line_of_the_error_log(self, errors: Any, caplog: pytest.LogCaptureFixture) -> None:
        errors.write("one\ntwo\n\nthree\n")
        errors.writelines(["four\n", "five\n"])
        assert caplog.record_tuples == [
            ("bridgeserve.error", logging.ERROR, text) for text in ("one", "two", "three", "four", "five")
        ]

    def test_print_makes_one_line(self, errors: Any, caplog: pytest.LogCaptureFixture) -> None:
        print("user", 7, "100%", file=errors)
        assert caplog.messages == ["user 7 100%"]

    def test_a_line_that_was_begun_waits_for_flush(self, errors: Any, caplog: pytest.LogCaptureFixture) -> None:
        errors.write("whole\nbeg")
        errors.write("un")
        assert caplog.messages == ["whole"]
        errors.flush()
        errors.flush()
        assert caplog.messages == ["whole", "begun"]

    def test_what_waits_is_bounded(self, errors: Any, caplog: pytest.LogCaptureFixture) -> None:
        errors.write("x" * (errors.LINE_MAX + 1))
        assert len(caplog.messages) == 1
        assert errors.begun == {}

    def test_threads_do_not_mix_their_lines(self, errors: Any, caplog: pytest.LogCaptureFixture) -> None:
        errors.write("mine ")
        thread = threading.Thread(target=errors.write, args=("theirs\n",))
        thread.start()
        thread.join()
        errors.write("too\n")
        assert caplog.messages == ["theirs", "mine too"]


# --- what a proxy says -----------------------------------------------------------------------------


def told(client: tuple[str, int] | None = ("203.0.113.9", 0), root: str | None = None) -> Endpoint:
    endpoint = Endpoint("https", client, ("example.org", 443))
    endpoint.root = root
    return endpoint


def test_the_client_of_a_proxy() -> None:
    environ = make(endpoint=told())
    assert environ["REMOTE_ADDR"] == "203.0.113.9"
    assert "REMOTE_PORT" not in environ  # the proxy did not tell it
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", "443")
    assert "HTTPS" not in make()


@pytest.mark.parametrize(
    ("root", "target", "script", "path"),
    [
        ("/api", b"/api/x", "/api", "/x"),
        ("/api", b"/x", "/api", "/x"),
        ("", b"/x", "", "/x"),
        (None, b"/own/x", "/own", "/x"),
    ],
)
def test_the_prefix_of_a_proxy_takes_the_place_of_the_root_path(
    root: str | None, target: bytes, script: str, path: str
) -> None:
    environ = make(target, endpoint=told(root=root), root_path="/own")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)


def test_the_variables_of_tls() -> None:
    endpoint = told()
    endpoint.ssl = {"SSL_PROTOCOL": "TLSv1.3", "SSL_CLIENT_VERIFY": "NONE"}
    forged = [(b"host", b"a"), (b"ssl-client-verify", b"SUCCESS"), (b"ssl-client-cert", b"x")]
    environ = make(headers=forged, endpoint=endpoint)
    assert (environ["SSL_PROTOCOL"], environ["SSL_CLIENT_VERIFY"]) == ("TLSv1.3", "NONE")
    assert "SSL_CLIENT_CERT" not in environ
