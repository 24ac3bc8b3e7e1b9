"""`bridgeserve ARGUMENTS`, with a thread beside it that counts what only the process itself can see.

For each line on stdin it writes one line of JSON to the descriptor named in SOAK_ANSWERS.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading

from bridgeserve.cli import main


def count(answers: int) -> None:
    """Answer until stdin ends."""
    for _ in sys.stdin:
        gc.collect()
        everything = gc.get_objects()
        tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in everything)
        os.write(answers, json.dumps({"tasks": tasks, "objects": len(everything)}).encode() + b"\n")
        del everything


if __name__ == "__main__":
    threading.Thread(target=count, args=(int(os.environ["SOAK_ANSWERS"]),), daemon=True).start()
    sys.exit(main(sys.argv[1:]))
