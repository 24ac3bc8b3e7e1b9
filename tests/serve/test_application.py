"""Loading an app by its name, and telling ASGI from WSGI."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.serve.application import StartupError, detect, load, prepare, startup_text

Modules = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    """A function that writes a module with a fresh name into tmp_path and returns the name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: list[str] = []

    def write(source: str) -> str:
        name = f"loaded_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(target: object, app_dir: Path, *, factory: bool = False) -> StartupError:
    with pytest.raises(StartupError) as caught:
        load(target, factory=factory, app_dir=str(app_dir))
    return caught.value


def test_names(module: Modules, tmp_path: Path) -> None:
    name = module(
        "class box:\n    class inner:\n        app = 'dotted'\ndef make():\n    return 'made'\nthing = 'plain'\n"
    )
    where = str(tmp_path)
    assert load(f"{name}:thing", app_dir=where) == "plain"
    assert load(f"{name}:box.inner.app", app_dir=where) == "dotted"
    assert load(f"{name}:make()", app_dir=where) == "made"
    assert load(f"{name}:make", factory=True, app_dir=where) == "made"
    assert load(f"{name}:make()", factory=True, app_dir=where) == "made"
    assert sys.path[0] == where
    assert sys.path.count(where) == 1


def test_a_bare_module_has_application_or_app(module: Modules, tmp_path: Path) -> None:
    assert load(module("app = 1\n"), app_dir=str(tmp_path)) == 1
    assert load(module("app = 1\napplication = 2\n"), app_dir=str(tmp_path)) == 2
    assert "neither 'application' nor 'app'" in str(refusal(module(""), tmp_path))


def test_an_object_is_the_app_itself() -> None:
    app = object()
    assert load(app) is app
    assert load(lambda: app, factory=True) is app
    with pytest.raises(StartupError, match="cannot be called"):
        load(app, factory=True)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "does not name an app"),
        ("a b", "does not name an app"),
        ("a:b:c", "does not name an app"),
        (":app", "does not name an app"),
        ("os:", "does not name an app"),
        ("os:getcwd(1)", "called without arguments"),
        ("no_such_module_here:app", "no module named 'no_such_module_here'"),
        ("no_such_module_here.below:app", "no module named 'no_such_module_here'"),
        ("site.py:app", "write site:attribute"),
        ("dir/site.py", "write dir.site:attribute"),
        ("os:nope", "'os' has no attribute 'nope'"),
        ("os:path.nope", "'os:path' has no attribute 'nope'"),
        ("os:path..x", "has no attribute ''"),
        ("os:sep()", "cannot be called as a factory"),
    ],
)
def test_wrong_names_are_refused_without_a_traceback(
    target: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    error = refusal(target, tmp_path)
    assert said in str(error)
    assert startup_text(error) == f"bridgeserve: {error}\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0\n", "ZeroDivisionError"),
        ("import no_such_module_here\n", "No module named 'no_such_module_here'"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
        ("open('/no/such/file')\n", "FileNotFoundError"),
        ("def (:\n", "SyntaxError"),
    ],
)
def test_errors_of_the_module_are_shown_without_our_frames(
    module: Modules, tmp_path: Path, source: str, said: str
) -> None:
    name = module(source)
    error = refusal(name, tmp_path)
    text = startup_text(error)
    assert said in str(error)
    assert f"{name}.py" in text
    assert source.splitlines()[-1].strip() in text
    assert "bridgeserve/serve" not in text
    assert "importlib" not in text


def test_errors_of_a_factory_and_of_a_property_are_shown(module: Modules, tmp_path: Path) -> None:
    name = module(
        "def make():\n    raise RuntimeError('made wrong')\n"
        "class Box:\n    @property\n    def app(self):\n        return self.missing\nbox = Box()\n"
    )
    text = startup_text(refusal(f"{name}:make()", tmp_path))
    assert text.count("made wrong") >= 2
    assert "in make" in text
    assert "bridgeserve/serve" not in text
    assert "no attribute 'missing'" in startup_text(refusal(f"{name}:box.app", tmp_path))


# Kinds of apps. Names of parameters and kinds of callables are what counts, bodies are not run.


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_plain(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    return asgi(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...

    @staticmethod
    async def static(scope: Any, receive: Any, send: Any) -> None: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []

    def method(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class AsgiClass:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Generator[Any, None, None]:
        yield


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def wsgi_more(environ: Any, start_response: Any, extra: Any = None) -> list[bytes]:
    return []


def wsgi_configured(config: Any, environ: Any, start_response: Any) -> list[bytes]:
    return []


async def asgi_configured(config: Any, scope: Any, receive: Any, send: Any) -> None: ...


async def asgi_any(*args: Any) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        asgi, asgi_plain, AsgiObject(), AsgiObject().method, AsgiObject.static, AsgiClass, decorated(asgi),
        decorated(decorated(asgi)), decorated(AsgiObject().method), functools.partial(asgi),
        functools.partial(asgi_configured, 1), functools.partial(AsgiObject()),
        decorated(functools.partial(asgi)),
        asgi_any, lambda scope, receive, send: asgi(scope, receive, send),
    ],
)  # fmt: skip
def test_asgi_is_seen(app: object) -> None:
    assert detect(app) == "asgi"


@pytest.mark.parametrize(
    "app",
    [
        wsgi, WsgiObject(), WsgiObject().method, WsgiClass, decorated(wsgi), functools.partial(wsgi),
        wsgi_more,
        functools.partial(wsgi_configured, 1), decorated(WsgiObject().method),
        lambda e, s: [],
    ],
)  # fmt: skip
def test_wsgi_is_seen(app: object) -> None:
    assert detect(app) == "wsgi"


def asgi2(scope: Any) -> Any:
    async def instance(receive: Any, send: Any) -> None: ...

    return instance


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class NotAnInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def no_arguments() -> None: ...


def one_argument(request: Any) -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


async def async_two(environ: Any, start_response: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (asgi2, "ASGI 2"),
        (Asgi2, "ASGI 2"),
        (NotAnInstance, "its instances are the app"),
        (no_arguments, "--factory"),
        (one_argument, "takes one argument"),
        (anything, "--interface"),
        (async_two, "--interface"),
        (object, "--interface"),
        (5, "not callable"),
        (None, "not callable"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_way_out(app: object, said: str) -> None:
    with pytest.raises(StartupError, match=said):
        detect(app)


def test_frameworks() -> None:
    flask = pytest.importorskip("flask")
    fastapi = pytest.importorskip("fastapi")
    starlette = pytest.importorskip("starlette.applications")
    asgi_handler = pytest.importorskip("django.core.handlers.asgi").ASGIHandler
    wsgi_handler = pytest.importorskip("django.core.handlers.wsgi").WSGIHandler
    application = flask.Flask("app")
    assert detect(application) == "wsgi"
    assert detect(application.wsgi_app) == "wsgi"
    assert detect(fastapi.FastAPI()) == "asgi"
    assert detect(starlette.Starlette()) == "asgi"
    # Without their settings: only the types are looked at.
    assert detect(asgi_handler.__new__(asgi_handler)) == "asgi"
    assert detect(wsgi_handler.__new__(wsgi_handler)) == "wsgi"

    class Vague(flask.Flask):  # type: ignore[name-defined,misc]
        def __call__(self, *args: Any) -> Any:
            return super().__call__(*args)

    assert detect(Vague("app")) == "wsgi"


def test_prepare_settles_kind_and_mode() -> None:
    known = prepare(wsgi, factory=False, app_dir=".", interface="auto", mode="auto")
    assert (known.app, known.kind, known.mode) == (wsgi, "wsgi", "threads")
    assert prepare(anything, factory=False, app_dir=".", interface="asgi", mode="auto").mode == "inline"
    with pytest.raises(StartupError, match="this is an ASGI app; mode threads"):
        prepare(asgi, factory=False, app_dir=".", interface="auto", mode="threads")
