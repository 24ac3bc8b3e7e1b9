"""The options of the logs, a part of `Settings`. Ground: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from bridgeserve.option import choice, option


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is logged, where, and in which form."""

    log_level: str = option(
        "choice",
        "Logging",
        "Least level that is logged.",
        "info",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    log_format: str = choice("Logging", "Form of the log.", "text", "json")
    error_log_file: str = option(
        "path",
        "Logging",
        "File of the log, opened again at SIGUSR1; -: stderr.",
        "-",
        aliases=("--error-logfile", "--log-file", "--error-log"),
        metavar="FILE",
    )
    log_config: str | None = option(
        "path", "Logging", "File *.toml or *.json for logging.config.dictConfig.", metavar="FILE"
    )
    access_log: bool = option("flag", "Logging", "Write one line per request.", True)
    access_log_file: str = option(
        "path",
        "Logging",
        "File of these lines, opened again at SIGUSR1; -: stdout.",
        "-",
        aliases=("--access-logfile",),
        metavar="FILE",
    )
    access_log_format: str = option(
        "text",
        "Logging",
        "default, common, combined, json, or a line of atoms such as '%(h)s %(r)s %(s)s'.",
        "default",
        metavar="FMT",
        aliases=("--access-logformat", "--access-log-fmt"),
    )
    request_id: str = option(
        "choice",
        "Logging",
        "on: each request has an id, that of X-Request-Id from a trusted peer or a new one, for the app and the logs."
        " send: the response has it too.",
        "off",
        choices=("off", "on", "send"),
    )
