"""What the command owes to its terminal: completion, and a word for those who come from another server.

Roof, below `cli.py`. Completion is click's: the shell calls the command with `_BRIDGESERVE_COMPLETE` set, and
click answers from the options. `--completion SHELL` prints the few lines that tell the shell to do so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from bridgeserve.option import Option

if TYPE_CHECKING:
    _TextType = click.ParamType[str]
else:
    _TextType = click.ParamType  # generic for type checkers only: not so in every click that we take

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "bridgeserve"
VARIABLE = "_BRIDGESERVE_COMPLETE"

# What gunicorn, uvicorn, hypercorn and granian have and we have in another way or not at all. Spellings with
# the same meaning are aliases of an option instead.
FOREIGN = {
    "-k": "where the app runs is said by --mode inline, threads or processes",
    "--worker-class": "where the app runs is said by --mode inline, threads or processes",
    "-D": "run it in the foreground under a service manager such as systemd",
    "--daemon": "run it in the foreground under a service manager such as systemd",
    "-u": "let the service manager choose the user",
    "--user": "let the service manager choose the user",
    "-g": "let the service manager choose the group",
    "--group": "let the service manager choose the group",
    "-e": "write NAME=VALUE lines into a file for --env-file",
    "--env": "write NAME=VALUE lines into a file for --env-file",
    "--pythonpath": "one directory in front of the import path is --app-dir",
    "--backpressure": "requests running at once are limited by --limit-concurrency, connections by --limit-connections",
    "--workers-max-rss": "the memory of a process is limited by --max-rss, in octets",
    "--h11-max-incomplete-event-size": "a head is limited by --limit-request-line, --limit-request-fields and"
    " --limit-request-field-size",
    "--reload-extra-file": "more files are watched by --reload-include",
    "--reload-engine": "files are watched by watchfiles, which knows what the system offers",
    "--log-config-json": "--log-config reads JSON as well as TOML",
    "--ws": "WebSocket is served when the package websockets is installed: bridgeserve[websockets]",
    "--no-ws": "WebSocket is served when the package websockets is installed, to apps that accept it",
    "--ws-max-queue": "16 messages of a WebSocket wait for the app, then nothing is read; --ws-max-size limits each",
    "--http2": "HTTP/2 is spoken by the proxy in front",
    "--quic-bind": "HTTP/3 is spoken by the proxy in front",
}


class Words(_TextType):
    """Takes the text as it came, for `values.py` reads it; knows what a shell may propose."""

    name = "text"

    def __init__(self, option: Option) -> None:
        self._option = option

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices that begin with `incomplete`, or the word that lets the shell propose files."""
        option = self._option
        if option.kind == "path":
            return [CompletionItem(incomplete, type="dir" if option.metavar == "DIR" else "file")]
        words = ("on", "off") if option.kind == "switch" else option.choices
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


class Command(click.Command):
    """A command that says what to use instead of another server's option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = FOREIGN.get(error.option_name)
            if hint is not None:
                raise click.UsageError(f"{error.option_name} is not an option of {PROGRAM}: {hint}", ctx) from None
            raise


def print_completion(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Print the script of the shell `value` and stop."""
    if not value or context.resilient_parsing:
        return
    kind = get_completion_class(value)
    assert kind is not None
    click.echo(kind(context.command, {}, PROGRAM, VARIABLE).source())
    context.exit()
