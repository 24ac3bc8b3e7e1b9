"""The command `bridgeserve`. Its options are made from the fields of `Settings`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from bridgeserve import shell
from bridgeserve.observe.logconfig import LogConfigError
from bridgeserve.option import Option
from bridgeserve.serve.application import Prepared, StartupError, check_reserve, prepare, startup_text
from bridgeserve.serve.logs import set_up_logs
from bridgeserve.settings import OPTIONS, Settings
from bridgeserve.sources import ConfigError, Sourced, Sources, flag_of, variable_of

STARTUP_FAILURE = 3

_METAVARS = {"int": "N", "float": "SECONDS", "switch": "on|off", "text": "TEXT", "path": "PATH", "list": "TEXT"}


def default_words(name: str, option: Option) -> str:
    """The default as help and docs show it, or "" for none."""
    if option.default:
        return option.default
    value = getattr(Settings(), name)
    if value is None or value in ("", ()):
        return ""
    return words(value)


def words(value: object) -> str:
    """A value as a user would write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def metavar(option: Option) -> str:
    """What stands for the value in help and docs."""
    return option.metavar or "|".join(option.choices) or _METAVARS[option.kind]


def help_text(name: str, option: Option) -> str:
    """The help of an option with its default and its variable."""
    default = default_words(name, option)
    notes = ([f"default: {default}"] if default else []) + [variable_of(name)]
    return f"{option.help} [{'; '.join(notes)}]"


def _parameter(name: str, option: Option) -> click.Option:
    """The click option of a field. Everything arrives as text (None: not given); `values.py` reads it."""
    text = help_text(name, option)
    if option.kind == "flag":
        return click.Option([name, f"{flag_of(name)}/--no-{flag_of(name)[2:]}"], default=None, is_flag=True, help=text)
    return click.Option(
        [name, *option.aliases, flag_of(name)],
        type=shell.Words(option),
        multiple=option.many,
        default=None,
        metavar=metavar(option),
        help=text,
    )


def _with_options(command: click.Command) -> click.Command:
    command.params[1:1] = [_parameter(name, option) for name, option in OPTIONS.items()]
    return command


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from bridgeserve._version import __version__

        click.echo(f"bridgeserve {__version__}")
        context.exit()


@_with_options
@click.command(cls=shell.Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("app", required=False)
@click.option("--check", "--check-config", is_flag=True, help="Load the app, say what it is, try it, and stop.")
@click.option("--print-config", is_flag=True, help="Print each value and where it came from, and stop.")
@click.option(
    "--completion",
    type=click.Choice(shell.SHELLS),
    is_eager=True,
    expose_value=False,
    callback=shell.print_completion,
    help="Print the completion for a shell and stop.",
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and stop.",
)
def main(app: str | None, check: bool, print_config: bool, **given: Any) -> None:
    """Serve APP over HTTP.

    APP is module:attribute, module:factory() or a bare module, in which `application`, then `app`, is
    looked for.

    Each option can be set in a TOML file and by an environment variable too, which is named behind it.
    """
    sources = Sources.of_process(given)
    try:
        sourced = sources.read()
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if print_config:
        click.echo(config_page(sourced), nl=False)
        return
    if app is None:
        raise click.UsageError("APP is missing: write module:attribute, for example app:application")
    # Not earlier: --print-config changes nothing.
    for name, value in sourced.environment.items():
        os.environ.setdefault(name, value)
    settings = sourced.settings
    home = _working_directory()
    try:
        _change_directory(home, settings.chdir)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(_guarded(lambda: _check(app, settings) if check else _serve(app, sources, sourced, home), settings))


def _working_directory() -> str:
    """The current directory as the shell calls it: a symbolic link in it may point to another place at a reload."""
    here, called = os.getcwd(), os.environ.get("PWD", "")
    try:
        return called if os.path.isabs(called) and os.path.samefile(called, here) else here
    except OSError:
        return here


def _change_directory(home: str, path: str | None) -> None:
    """Go to `home`, or where --chdir says from there. Raises ConfigError."""
    try:
        os.chdir(os.path.join(home, path or ""))
    except OSError as error:
        named = home if path is None else f"--chdir {path}"
        raise ConfigError(f"{named}: {error.strerror}") from None


def _guarded(action: Callable[[], int], settings: Settings) -> int:
    """The exit code of `action`, with the log set up; a StartupError becomes its message on stderr and 3."""
    try:
        set_up_logs(settings)
        return action()
    except LogConfigError as error:
        raise click.UsageError(str(error)) from None
    except StartupError as error:
        click.echo(startup_text(error), err=True, nl=False)
        return STARTUP_FAILURE


def _prepare(app: str, settings: Settings, load_here: bool = False) -> Prepared:
    return prepare(
        app,
        factory=settings.factory,
        app_dir=settings.app_dir,
        interface=settings.interface,
        mode=settings.mode,
        load_here=load_here,
    )


def _check(app: str, settings: Settings) -> int:
    prepared = _prepare(app, settings, load_here=True)
    check_reserve(prepared.mode, settings)
    from bridgeserve.serve.check import converse
    from bridgeserve.serve.server import load_certificates

    load_certificates(settings)
    report = converse(prepared, settings)
    for fault in report.faults:
        click.echo(f"against the specification: {fault}", err=True)
    for fault in report.harmless:
        click.echo(f"against the specification, and served nevertheless: {fault}", err=True)
    word = "not ok" if report.faults else "ok"
    kind = "an ASGI" if prepared.kind == "asgi" else "a WSGI"
    click.echo("; ".join([f"{word}: {app} is {kind} app, mode {prepared.mode}", *report.told]))
    return int(bool(report.faults))


def _serve(app: str, sources: Sources, sourced: Sourced, home: str) -> int:
    from bridgeserve.serve.supervisor import Launch, supervise

    def launch(sourced: Sourced) -> Launch:
        return Launch(
            app=app,
            settings=sourced.settings,
            # The environment wins over the env file, as it did when the file was read.
            environ={**sourced.environment, **sources.environ},
            binds_given=sourced.binds_given,
            directory=os.getcwd(),
        )

    def again() -> Launch:
        try:
            found = sources.read()
            _change_directory(home, found.settings.chdir)
        except ConfigError as error:
            raise StartupError(str(error)) from None
        return launch(found)

    return supervise(launch(sourced), again)


def config_page(sourced: Sourced) -> str:
    """One line per option: name = value  (origin)."""
    rows = [(name, _shown(name, getattr(sourced.settings, name)), sourced.origins[name]) for name in OPTIONS]
    width = max(len(name) for name, _, _ in rows)
    wide = max(len(value) for _, value, _ in rows if len(value) <= 40)
    return "".join(f"{name:{width}} = {value:{wide}}  ({origin})\n" for name, value, origin in rows)


def _shown(name: str, value: object) -> str:
    return "***" if OPTIONS[name].secret and value else words(value) or "-"
