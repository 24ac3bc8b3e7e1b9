"""Each option is documented, and the page is the one that the generator writes."""

from __future__ import annotations

import runpy
from pathlib import Path

from bridgeserve.settings import OPTIONS
from bridgeserve.sources import flag_of, variable_of

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "options_page.py"))
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == script["page"](), (
        "run: python scripts/options_page.py"
    )


def test_the_page_names_every_option_alias_and_variable() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for name, option in OPTIONS.items():
        for word in (flag_of(name), variable_of(name), *option.aliases):
            assert f"`{word}`" in page
