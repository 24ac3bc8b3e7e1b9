"""The first process that imports it dies a moment after it is ready; every other one takes longer to be so."""

from __future__ import annotations

import os
import threading
import time

from process_wsgi import application

__all__ = ["application"]

try:
    os.close(os.open(os.environ["TEST_FIRST"], os.O_CREAT | os.O_EXCL))
    threading.Timer(0.4, os._exit, (1,)).start()
except FileExistsError:
    time.sleep(1.0)
