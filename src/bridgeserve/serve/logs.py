"""Logging as the options say it, at the start and at each reload."""

from __future__ import annotations

from bridgeserve.observe.logconfig import apply
from bridgeserve.observe.logs import configure
from bridgeserve.serve.application import StartupError
from bridgeserve.settings import Settings


def set_up_logs(settings: Settings) -> None:
    """Send the log where `settings` say; what was set up before is replaced.

    :raises StartupError: the log file cannot be opened.
    :raises LogConfigError: --log-config is wrong.
    """
    if settings.log_config is not None and apply(settings.log_config):
        return
    try:
        configure(settings.log_level, settings.log_format, path=settings.error_log_file)
    except OSError as error:
        raise StartupError(f"cannot open the log file {settings.error_log_file}: {error.strerror}") from error
