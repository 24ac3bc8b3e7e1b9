"""`python -m bridgeserve` is the command `bridgeserve`."""

from __future__ import annotations

from bridgeserve.cli import main

if __name__ == "__main__":
    main(prog_name="bridgeserve")
