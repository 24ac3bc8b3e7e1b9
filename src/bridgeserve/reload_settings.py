"""The options of --reload, a part of `Settings`. Ground: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from bridgeserve.option import option


@dataclass(frozen=True, kw_only=True)
class ReloadSettings:
    """What is watched while an app is developed."""

    reload: bool = option(
        "flag", "Development", "Start the app anew when one of its files changes; needs bridgeserve[reload].", False
    )
    reload_dir: tuple[str, ...] = option(
        "list",
        "Development",
        "Directory to watch, with all below; may be given many times.",
        (),
        aliases=("--reload-paths",),
        metavar="DIR",
        default="--app-dir",
    )
    reload_include: tuple[str, ...] = option(
        "list",
        "Development",
        "Pattern of file names to watch besides *.py, such as '*.html'; with a slash, of paths below the directory;"
        " may be given many times.",
        (),
        metavar="PATTERN",
    )
    reload_exclude: tuple[str, ...] = option(
        "list",
        "Development",
        "Pattern of names of files and directories, or of paths, that are not watched; may be given many times.",
        (),
        metavar="PATTERN",
        default=".*, *~, __pycache__ and node_modules, unless they are included",
    )
