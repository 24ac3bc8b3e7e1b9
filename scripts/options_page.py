"""Write docs/options.md from the fields of `Settings`: python scripts/options_page.py"""

from __future__ import annotations

from pathlib import Path

from bridgeserve.cli import default_words, metavar
from bridgeserve.option import GROUPS, Option
from bridgeserve.settings import OPTIONS
from bridgeserve.sources import flag_of, variable_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"

HEAD = """# Options

<!-- Written by scripts/options_page.py from src/bridgeserve/settings.py. Change it there. -->

    bridgeserve [OPTIONS] APP

`APP` is `module:attribute` (dotted attributes are allowed), `module:factory()`, or a bare `module`, in which
`application`, then `app`, is looked for.

Sources, strongest first: the command line, the environment (`BRIDGESERVE_<OPTION>`), the `--env-file`, the
`--config` file, the variables that servers share (last table), the default. An empty variable counts as not
set. An unknown option or a value that is not allowed is an error that names the source, the key and what is
allowed. [Configuration](configuration.md) has examples.

In a TOML file the key is the option without its dashes: `limit-queue = 64`, `date-header = false`,
`bind = [":8000", "unix:/run/app.sock"]`.

From Python the names are the same with underscores: `bridgeserve.run("app:application", limit_queue=64)`. The
environment is not read there. What is written as `--no-date-header` on the command line is
`date_header=False` in Python and `BRIDGESERVE_DATE_HEADER=off` in the environment.

`--bind`, `--host` with `--port`, `--uds` and `--fd` exclude each other; a stronger source silences the
weaker ones. A bind is `HOST:PORT`, `[::]:PORT`, `:PORT` (all interfaces), `unix:PATH`, `unix:PATH?mode=660`
or `fd://N`. `BRIDGESERVE_BIND` takes several, with commas or spaces between; `BRIDGESERVE_HEADER` takes one
a line.
"""

COMMANDS = """
## Commands

| option | meaning |
|---|---|
| `--check` `--check-config` | Load the app, say what it is, [try it](configuration.md#the-check), and stop. |
| `--completion bash\\|zsh\\|fish` | Print the completion for a shell and stop. |
| `--print-config` | Print each value and where it came from, and stop. |
| `-v` `--version` | Print the version and stop. |
| `-h` `--help` | Print the options and stop. |
"""

ACCESS = """
## Formats of the access log

`default` is one readable line: client, request line, status, octets of the body, milliseconds, and `cut`
where the client did not get the whole response. `common` and `combined` are those of Apache; `json` is one
object a line. Any other text is a line of atoms:

| atom | meaning |
|---|---|
| `%(h)s` | address of the client, `-` on a unix socket |
| `%(l)s` | `-` |
| `%(u)s` | user of Basic credentials, not verified |
| `%(t)s` | time of the request, `[10/Oct/2025:13:55:36 +0000]` |
| `%(r)s` | request line |
| `%(m)s` `%(U)s` `%(q)s` `%(H)s` | its method, path, query and protocol |
| `%(s)s` | status |
| `%(B)s` `%(b)s` | octets of the body that were sent; `b` is `-` for none |
| `%(f)s` `%(a)s` | Referer, User-Agent |
| `%(T)s` `%(M)s` `%(D)s` `%(L)s` | duration in seconds, milliseconds, microseconds, seconds with a fraction |
| `%(p)s` | process id |
| `%(queue_ms)s` `%(app_ms)s` | milliseconds in the queue, and from the call of the app to the last octet |
| `%(bytes_in)s` `%(bytes_out)s` | octets of the request's body, of the response's |
| `%(request_id)s` | the id of the request with `--request-id`, else `-` |
| `%({name}i)s` `%({name}o)s` | a header of the request, of the response |
| `%({name}e)s` | `HTTP_NAME`: a header of the request; else a variable of the server's environment |
| `%%` | a per cent sign |

Control characters, quotes, backslashes and octets beyond ASCII are written as `\\xNN`, so no client can
forge a line.
"""


def _shared() -> str:
    rows = [f"| `{option.shared}` | `{flag_of(name)}` |" for name, option in OPTIONS.items() if option.shared]
    head = ["\n## Variables that servers share\n", "| variable | option, when nothing else sets it |", "|---|---|"]
    return "\n".join([*head, *rows, "\n`PORT` alone listens at all IPv4 interfaces: `0.0.0.0:$PORT`.\n"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _names(name: str, option: Option) -> str:
    long = flag_of(name)
    if option.kind == "flag":
        return f"`{long}` `--no-{long[2:]}`"
    spelled = " ".join(f"`{each}`" for each in (*option.aliases, long))
    return f"{spelled} `{_cell(metavar(option))}`"


def _row(name: str, option: Option) -> str:
    default = default_words(name, option)
    shown = f"`{default}`" if default and not option.default else default
    allowed = (
        "" if option.choices or option.kind in ("flag", "switch", "text", "path") else f" Allowed: {option.allowed}."
    )
    cells = (_names(name, option), f"`{variable_of(name)}`", _cell(shown), _cell(option.help + allowed))
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for group in GROUPS:
        rows = [_row(name, option) for name, option in OPTIONS.items() if option.group == group]
        parts.append(
            "\n".join(
                [
                    f"\n## {group}\n",
                    "| option | variable | default | meaning |",
                    "|---|---|---|---|",
                    *rows,
                    "",
                ]
            )
        )
    return "".join([*parts, _shared(), COMMANDS, ACCESS])


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
