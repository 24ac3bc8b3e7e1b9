"""Real reverse proxies in front of a server: nginx and haproxy, in the foreground, with the configuration of a test.

Both inherit their listening socket from here, bound and listening: no port is guessed, and who connects before the
proxy is up waits in the backlog.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.server import ServerProcess

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    {http}
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream app {{
        server {upstream};
        keepalive 8;
    }}
    server {{
        listen {host}:{port};
        {server}
    }}
}}
"""

HAPROXY = """
global
    maxconn 256
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
frontend front
    bind fd@{descriptor}
    {frontend}
    default_backend back
backend back
    {backend}
    server app {upstream} {options}
"""


def upstream_of(server: ServerProcess) -> str:
    """The first address of a server as nginx writes it: host:port or unix:path."""
    return server.url.removeprefix("http://")


class Front:
    """One proxy at work."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], address: tuple[str, int], log: Path) -> None:
        self.name = name
        self.address = address
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="latin-1")

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def end(self) -> None:
        """End it, and show what it has said."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        sys.stderr.write(f"{self.name}: {self._log.read_text(errors='replace')}\n")


class Fronts:
    """Starts proxies and ends what it has started. `directory` is for their files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Front] = []

    def nginx(self, upstream: str, server: str, http: str = "") -> Front:
        """nginx with `server` inside of its server block and `http` in front of that; the upstream is called `app`."""
        program = find("nginx")
        listener = _listener()
        host, port = listener.getsockname()
        text = NGINX.format(
            directory=self._directory, upstream=upstream, host=host, port=port, server=server, http=http
        )
        # How nginx hands its listeners to its successor: numbers of descriptors, each with a semicolon.
        return self._start("nginx", [program, "-c"], text, listener, {"NGINX": f"{listener.fileno()};"})

    def haproxy(
        self, upstream: str, options: str = "", *, mode: str = "http", frontend: str = "", backend: str = ""
    ) -> Front:
        """haproxy with `options` behind the server, and more lines for its two sections."""
        program = find("haproxy")
        listener = _listener()
        text = HAPROXY.format(
            descriptor=listener.fileno(),
            upstream=upstream,
            options=options,
            mode=mode,
            frontend=frontend,
            backend=backend,
        )
        return self._start("haproxy", [program, "-db", "-f"], text, listener, {})

    def _start(
        self, name: str, command: list[str], text: str, listener: socket.socket, environ: dict[str, str]
    ) -> Front:
        number = len(self._started)
        file = self._directory / f"{name}-{number}.conf"
        file.write_text(text)
        log = self._directory / f"{name}-{number}.log"
        with listener, log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(listener.fileno(),),
                env={"PATH": os.environ.get("PATH", os.defpath), **environ},
            )
            front = Front(name, process, listener.getsockname(), log)
        self._started.append(front)
        return front

    def end(self) -> None:
        """End all of them."""
        while self._started:
            self._started.pop().end()


def find(name: str) -> str:
    """The program. Without it a test is skipped, or fails where the CI should have installed it."""
    program = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is not None:
        return program
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed and this test needs it: apt-get install {name}")
    pytest.skip(f"{name} is not installed")


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.set_inheritable(True)
    return listener
