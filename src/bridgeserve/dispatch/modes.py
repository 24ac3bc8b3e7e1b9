"""Which mode runs which kind of app: one table, a cell for every pair."""

from __future__ import annotations

MODES = ("inline", "threads", "processes")
KINDS = ("asgi", "wsgi")

# What `auto` means.
DEFAULTS = {"asgi": "inline", "wsgi": "threads"}

# A cell is "" where the mode works, else why it does not and the way out.
TABLE: dict[tuple[str, str], str] = {
    ("inline", "asgi"): "",
    ("inline", "wsgi"): "",
    ("threads", "asgi"): (
        "mode threads runs WSGI apps only: an ASGI app runs on the event loop, not in a pool of threads;"
        " use --mode inline or leave --mode out"
    ),
    ("threads", "wsgi"): "",
    ("processes", "asgi"): (
        "mode processes runs WSGI apps only: an ASGI app runs on the event loop, not in a pool of processes;"
        " use --mode inline or leave --mode out"
    ),
    ("processes", "wsgi"): "",
}


class ModeRefused(ValueError):
    """This mode cannot run this kind of app; the message has the reason and the way out."""


def choose_mode(mode: str, kind: str) -> str:
    """The mode that runs an app of `kind` ("asgi", "wsgi") when the user asked for `mode` ("auto" or one of
    MODES).

    Raises ModeRefused.
    """
    chosen = DEFAULTS[kind] if mode == "auto" else mode
    reason = TABLE[chosen, kind]
    if reason:
        raise ModeRefused(reason)
    return chosen
