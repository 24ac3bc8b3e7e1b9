"""Completion in a shell, and the options of other servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridgeserve.cli import main
from bridgeserve.settings import OPTIONS
from bridgeserve.shell import FOREIGN, SHELLS
from bridgeserve.sources import flag_of


def complete(*words: str) -> list[str]:
    """What bash would propose for the last of `words`."""
    environ = {
        **os.environ,
        "_BRIDGESERVE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("bridgeserve", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([sys.executable, "-m", "bridgeserve"], env=environ, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode().split()


def test_options_and_choices_are_completed() -> None:
    assert set(complete("--limit-r")) == {
        "plain,--limit-request-line",
        "plain,--limit-request-fields",
        "plain,--limit-request-field-size",
        "plain,--limit-request-field_size",
        "plain,--limit-request-body",
    }
    assert complete("--mode", "p") == ["plain,processes"]
    assert complete("--request-buffering", "o") == ["plain,on", "plain,off"]
    assert complete("--config", "x") == ["file,x"]
    assert complete("--app-dir", "x") == ["dir,x"]
    assert complete("--threads", "x") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_calls_the_command(shell: str) -> None:
    result = CliRunner().invoke(main, ["--completion", shell], prog_name="bridgeserve")
    assert result.exit_code == 0
    assert f"_BRIDGESERVE_COMPLETE={shell}_complete" in result.stdout


def test_bash_takes_its_script(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(main, ["--completion", "bash"], prog_name="bridgeserve").stdout)
    asked = subprocess.run(["bash", "-c", f". {script}; complete -p bridgeserve"], capture_output=True, check=True)
    assert b"_bridgeserve_completion" in asked.stdout


def test_an_option_of_another_server_is_refused_with_what_to_use() -> None:
    result = CliRunner().invoke(main, ["-k", "gthread", "app"], prog_name="bridgeserve")
    assert result.exit_code == 2
    assert "-k is not an option of bridgeserve: where the app runs is said by --mode" in result.stderr
    result = CliRunner().invoke(main, ["--nope", "app"], prog_name="bridgeserve")
    assert (result.exit_code, "No such option" in result.stderr) == (2, True)


def test_what_is_said_about_other_servers_is_true() -> None:
    ours = {flag_of(name) for name in OPTIONS} | {alias for option in OPTIONS.values() for alias in option.aliases}
    assert not ours & set(FOREIGN)
    named = {word.strip(",;") for text in FOREIGN.values() for word in text.split() if word.startswith("--")}
    assert named <= ours | {"--env-file", "--log-config"}
