# A small image of bridgeserve. An app image is made from it:
#
#   FROM bridgeserve
#   COPY . /app
#   CMD ["app:application"]
#
# The digest of the base image can be pinned: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY . .
# Where pip looks for packages and whom it trusts may come in as secrets (ids pipconf, cacert). Without them pip's defaults
# count. Nothing of them stays in a layer. The environment is made without pip: the image needs none.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=cacert,target=/etc/ssl/certs/ca-certificates.crt \
    python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheel . \
    && python -m venv --without-pip /opt/bridgeserve \
    && python -m pip --python /opt/bridgeserve/bin/python install --no-cache-dir --disable-pip-version-check "$(echo /wheel/*.whl)[websockets]"

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/bridgeserve /opt/bridgeserve
ENV PATH=/opt/bridgeserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["python", "-m", "bridgeserve.health"]
ENTRYPOINT ["bridgeserve"]
CMD ["--help"]
