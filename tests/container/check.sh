#!/usr/bin/env bash
# check.sh: build the Dockerfile for real, run the image, check what it promises. As root on Debian 12.
#
# No registry is needed: the base image is made from the running system and a CPython of this machine (PYTHON_PREFIX; else a pyenv
# 3.13; else the one behind $PYTHON). All images and layers live in a folder of their own, which is removed at the end.
# pip's settings and the CA bundle of this machine go in as build secrets.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
project=$(realpath "$here/../..")
image=localhost/bridgeserve:check
name=bridgeserve-check-$$
started=$SECONDS

fail() {
    printf 'container check: %s\n' "$*" >&2
    exit 1
}

step() {
    printf '== %-58s %4s s\n' "$1" "$((SECONDS - started))"
}

require_tools() {
    local missing=() tool
    for tool in buildah podman runc conmon curl; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ "${#missing[@]}" -eq 0 ] || fail "${missing[*]} not found; as root: apt-get install -y --no-install-recommends \
curl buildah podman runc conmon uidmap netavark catatonit"
    [ "$(id -u)" -eq 0 ] || fail "must run as root"
}

# The prefix and the version of the CPython that goes into the base image.
find_python() {
    local found
    if [ -z "${PYTHON_PREFIX:-}" ]; then
        found=$(find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -maxdepth 1 -name '3.13.*' 2>/dev/null | sort -V | tail -n 1)
        PYTHON_PREFIX=${found:-$("${PYTHON:-python3}" -c 'import sys; print(sys.base_prefix)')}
    fi
    version=$("$PYTHON_PREFIX/bin/python3" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$PYTHON_PREFIX/bin/python3" -c 'import ensurepip' || fail "$PYTHON_PREFIX has no ensurepip; set PYTHON_PREFIX"
}

make_base_image() {
    "$here/make-base.sh" "$work/rootfs"
    "$here/add-python.sh" "$work/rootfs" "$PYTHON_PREFIX" "$version"
    base=localhost/python:$version-slim-bookworm
    tar -C "$work/rootfs" -c . | podman import -q \
        --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' - "$base" >/dev/null
    rm -rf "$work/rootfs"
}

build_image() {
    local secrets=() authority=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
    [ -r /etc/pip.conf ] && secrets+=(--secret "id=pipconf,src=/etc/pip.conf")
    [ -r "$authority" ] && secrets+=(--secret "id=cacert,src=$authority")
    # --format docker: the OCI format has no HEALTHCHECK. --isolation chroot: works inside a container as well.
    buildah build --pull-never --isolation chroot --network host --format docker --build-arg "PYTHON_IMAGE=$base" \
        "${secrets[@]}" -t "$image" "$project" >"$work/build.log" 2>&1 ||
        { tail -n 40 "$work/build.log" >&2; fail "the image does not build"; }
}

# expect KIND TARGET TEMPLATE VALUE: what `podman KIND inspect` says of the target.
expect() {
    local value
    value=$(podman "$1" inspect "$2" --format "$3")
    [ "$value" = "$4" ] || fail "$3 is '$value', not '$4'"
}

# crun, the default runtime of podman 4, refuses hybrid control groups; runc does not.
podman() {
    command podman --runtime runc --log-level fatal "$@"
}

start_container() {
    # The limits of this machine may be below podman's defaults, so they are given.
    podman run -d --name "$name" --pull never --network host --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
        --health-interval disable --read-only --read-only-tmpfs=false --cap-drop ALL \
        --security-opt no-new-privileges --memory 256m --pids-limit 64 \
        -e BRIDGESERVE_BIND="0.0.0.0:$port" -v "$here/app.py:/app/app.py:ro" \
        "$image" app:application --mode threads >/dev/null
}

get() {
    curl -fsS --max-time 10 "http://127.0.0.1:$port$1"
}

# until_true SECONDS COMMAND...: wait for a state, not for a time.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

answers() { get / >/dev/null; }
slow_runs() { [ "$(get /busy)" = 1 ]; }
in_container() { podman exec "$name" python -c "$1"; }

clean_up() {
    local code=$?
    [ "$code" -eq 0 ] || podman logs "$name" 2>&1 | tail -n 40 || true
    podman rm -f -t 0 "$name" >/dev/null 2>&1 || true
    umount "$work/graph/overlay" 2>/dev/null || true
    rm -rf "$work"
    exit "$code"
}

require_tools
find_python
work=$(mktemp -d)
trap clean_up EXIT
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$work" "$work" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf
port=$("$PYTHON_PREFIX/bin/python3" -c 'import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1])')

make_base_image
step "base image with CPython $version"
build_image
step "image built, $(podman image inspect "$image" --format '{{.Size}}' | awk '{ printf "%d MB", $1 / 1e6 }')"

expect image "$image" '{{.Config.User}}' 10001:10001
expect image "$image" '{{json .Config.Entrypoint}}' '["bridgeserve"]'
expect image "$image" '{{.Config.StopSignal}}' SIGTERM
expect image "$image" '{{json .HealthCheck.Test}}' '["CMD","python","-m","bridgeserve.health"]'
expect image "$image" '{{json .Config.ExposedPorts}}' '{"8000/tcp":{}}'
step "user, entry point, stop signal, health check, port"

start_container
until_true 15 answers || fail "no answer on port $port"
[ "$(get /)" = "uid 10001" ] || fail "the app does not run as uid 10001"
step "answers on loopback, not as root"

in_container 'import os
from pathlib import Path
assert os.getuid() == 10001
for place in "/x", "/app/x", "/tmp/x", "/opt/bridgeserve/x":
    try:
        Path(place).touch()
    except OSError:
        continue
    raise SystemExit(place + " can be written to")
command = Path("/proc/1/cmdline").read_bytes()
assert b"bridgeserve" in command and b"sh\0-c" not in command, command' || fail "not the promised surroundings"
step "root file system is read-only, PID 1 is the server"

in_container 'import bridgeserve.net.websocket' || fail "the image cannot speak WebSocket"
step "what WebSocket needs is in it"

podman healthcheck run "$name" || fail "not healthy"
in_container 'import sys
from bridgeserve.health import main
sys.exit(main(["/broken"]) != 1)' || fail "an answer of 500 counts as healthy"
step "health check: well, and ill when the app is"

curl -fsS --max-time 20 "http://127.0.0.1:$port/slow" >"$work/slow" &
client=$!
until_true 10 slow_runs || fail "the slow request does not run"
podman stop -t 15 "$name" >/dev/null
wait "$client" || fail "the answer in flight was lost"
[ "$(cat "$work/slow")" = "slow and whole" ] || fail "the answer in flight was not whole: $(cat "$work/slow")"
expect container "$name" '{{.State.ExitCode}}' 0
step "SIGTERM: the answer in flight is whole, exit code 0"
echo "container check: all well"
