"""From the word APP to an app that can run: import it, find out what it is, choose its mode."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

from bridgeserve.dispatch.modes import TABLE, ModeRefused, choose_mode
from bridgeserve.serve.detect import Undetected, detect_interface
from bridgeserve.settings import Settings

_TARGET = re.compile(r"(?P<module>[^\s:]+?)(?::(?P<attribute>[^\s:()]+)(?P<call>\(\s*\))?)?")
_WITH_ARGUMENTS = re.compile(r"[^\s:]+:[^\s:()]+\(.+\)")
_NAMES = ("application", "app")
_OURS = Path(__file__).parent.parent  # as the frames of our code spell it


class StartupError(Exception):
    """The server cannot start.

    The message is for stderr; exit code 3. The cause, where there is one, is the app's own error; `trace` is its
    traceback where it was raised in another process.
    """

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An app with its kind ("asgi", "wsgi") and the mode that runs it."""

    app: object
    kind: str
    mode: str


def load(target: object, *, factory: bool = False, app_dir: str = ".") -> object:
    """The app that `target` names: `module:attribute.of.it`, `module:factory()`, or a bare `module`; an
    object is the app itself.

    `factory`: what was found is called without arguments and returns the app. `app_dir` goes to the front
    of the import path. Raises StartupError.
    """
    if not isinstance(target, str):
        return _call(target, type(target).__name__) if factory else target
    match = _TARGET.fullmatch(target)
    if match is None:
        if _WITH_ARGUMENTS.fullmatch(target):
            raise StartupError(f"{target!r}: a factory is called without arguments; write one that needs none")
        raise StartupError(f"{target!r} does not name an app; write module:attribute, module:factory() or module")
    directory = os.path.abspath(app_dir)
    # At the front even when it is further back already: the user asked for this directory.
    if not sys.path or sys.path[0] != directory:
        sys.path.insert(0, directory)
    module = _import(match["module"], directory)
    found = _attribute(module, match["attribute"])
    return _call(found, target) if factory or match["call"] else found


def detect(app: object) -> str:
    """ "asgi" or "wsgi". Raises StartupError for what is no app and for what cannot be told."""
    try:
        return detect_interface(app)
    except Undetected as error:
        raise StartupError(str(error)) from None


def prepare(
    target: object, *, factory: bool, app_dir: str, interface: str, mode: str, load_here: bool = False
) -> Prepared:
    """Load the app, find out its kind (unless `interface` says it) and the mode.

    In process mode the app stays a name, for its processes load it (with `load_here`).

    Raises StartupError.
    """
    if mode == "processes" and not load_here:
        return Prepared(app=_by_name(target, interface), kind="wsgi", mode=mode)
    app = load(target, factory=factory, app_dir=app_dir)
    if not callable(app):
        raise StartupError(f"the app is not callable: an object of type {type(app).__qualname__}")
    kind = detect(app) if interface == "auto" else interface
    try:
        return Prepared(app=app, kind=kind, mode=choose_mode(mode, kind))
    except ModeRefused as error:
        raise StartupError(f"this is {'an ASGI' if kind == 'asgi' else 'a WSGI'} app; {error}") from None


def check_reserve(mode: str, settings: Settings) -> None:
    """Refuse to keep lanes free where there are none, or none would be left for ordinary requests.

    Raises StartupError.
    """
    if not settings.reserve:
        return
    most = settings.limit_concurrency
    if mode == "inline" and most is None:
        raise StartupError(
            "--reserve keeps some of --limit-concurrency free in mode inline, and that is not set: nothing would ever"
            " wait; set it, or leave --reserve out"
        )
    pools = {"threads": ("--threads", settings.threads), "processes": ("--processes", settings.processes)}
    sizes = ([pools[mode]] if mode in pools else []) + ([("--limit-concurrency", most)] if most is not None else [])
    option, size = min(sizes, key=lambda each: each[1])
    kept = sum(each.lanes for each in settings.admission.reserve)
    if kept >= size:
        raise StartupError(
            f"--reserve keeps {kept} free of {size} ({option}), which leaves nothing for other requests;"
            f" set {option} to {kept + 1} or more"
        )


def _by_name(target: object, interface: str) -> str:
    """The name of an app that other processes will load."""
    if not isinstance(target, str):
        raise StartupError(
            "mode processes needs the import name of the app, such as 'module:attribute', because its processes load"
            " it themselves; give the name, or use mode threads"
        )
    if interface == "asgi":
        raise StartupError(TABLE["processes", "asgi"])
    return target


def _import(name: str, directory: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself is missing (or a package above it), not one that it imports.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise StartupError(
                f"no module named {error.name!r} (looked in {directory} and the import path){_file_hint(name)}"
            ) from None
        raise StartupError(f"importing {name!r} failed: {_summary(error)}") from error
    except (Exception, SystemExit) as error:  # the app may raise anything: no start
        raise StartupError(f"importing {name!r} failed: {_summary(error)}") from error


def _file_hint(name: str) -> str:
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").strip("./").replace("/", ".")
        return f"; APP is a module, not a file: write {module}:attribute"
    return ""


def _attribute(module: ModuleType, dotted: str | None) -> object:
    if dotted is None:
        for name in _NAMES:
            if hasattr(module, name):
                found: object = getattr(module, name)
                return found
        raise StartupError(
            f"module {module.__name__!r} has neither 'application' nor 'app'; write {module.__name__}:attribute"
        )
    found = module
    path = module.__name__
    for name in dotted.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            if not name or not hasattr(type(found), name):
                raise StartupError(f"{path!r} has no attribute {name!r}") from None
            raise StartupError(f"reading {name!r} of {path!r} failed: {_summary(error)}") from error
        except Exception as error:  # a property of the app's, see _import
            raise StartupError(f"reading {name!r} of {path!r} failed: {_summary(error)}") from error
        path += ("." if ":" in path else ":") + name
    return found


def _call(found: object, name: str) -> object:
    if not callable(found):
        raise StartupError(f"{name}: an object of type {type(found).__qualname__} cannot be called as a factory")
    try:
        made: object = found()
    except (Exception, SystemExit) as error:  # code of the app, see _import
        raise StartupError(f"the factory {name} failed: {_summary(error)}") from error
    return made


def _summary(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def startup_text(error: StartupError) -> str:
    """What to print on stderr: the traceback of the app's own error, where that is the cause, and the
    message.
    """
    trace = error.trace if error.__cause__ is None else app_trace(error.__cause__)
    return f"{trace}bridgeserve: {error}\n"


def app_trace(error: BaseException) -> str:
    """The traceback of an error of the app, from its own first frame on; "" when all frames are ours."""
    first = _skip_ours(error.__traceback__)
    # A SyntaxError has no frame of the app, but its text shows the file and the line.
    if first is None and not isinstance(error, SyntaxError):
        return ""
    return "".join(traceback.format_exception(type(error), error, first))


def _skip_ours(frames: TracebackType | None) -> TracebackType | None:
    """The rest of a traceback behind our frames and those of the import machinery."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        machinery = file.startswith("<frozen importlib") or Path(file).parent == Path(importlib.__file__).parent
        if not machinery and _OURS not in Path(file).parents:
            return frames
        frames = frames.tb_next
    return None
