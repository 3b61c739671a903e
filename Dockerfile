# A hub in a container: multi-stage, not root, root file system read-only, one volume.
#
#     docker build -t parler .
#     docker run -d --read-only -p 7070:7070 -v parler:/data parler
#
# Private unless told otherwise: the join secret is made at the first start and kept in
# /data/join-secret. Other hubs' flags are environment variables, PARLER_HUB_<FLAG>.

ARG PYTHON=3.13-slim

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/parler
COPY locks ./locks
RUN /opt/parler/bin/pip install --no-deps --require-hashes -r locks/runtime.txt
RUN /opt/parler/bin/pip install --no-deps --require-hashes -r locks/build.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY parler ./parler
COPY hub ./hub
RUN /opt/parler/bin/pip install --no-deps --no-build-isolation . \
    && /opt/parler/bin/python -m compileall -q /opt/parler/lib \
    && /opt/parler/bin/pip uninstall -qy editables hatchling pip

FROM python:${PYTHON}
COPY --from=build /opt/parler /opt/parler
RUN useradd --system --uid 10001 --home-dir /data parler \
    && install -d -o parler -g parler -m 0700 /data
USER parler
VOLUME /data
EXPOSE 7070
STOPSIGNAL SIGTERM
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PARLER_HOME=/data/home \
    PARLER_HUB_ADDR=0.0.0.0:7070 \
    PARLER_HUB_DB=/data/hub.sqlite \
    PARLER_HUB_JOIN_SECRET_FILE=/data/join-secret \
    PARLER_HUB_LOG_FORMAT=json
# /health writes to the database, so it also notices a full or read-only disk.
HEALTHCHECK --interval=30s --timeout=6s --start-period=20s --retries=3 \
    CMD ["/opt/parler/bin/python", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7070/health', timeout=5)"]
ENTRYPOINT ["/opt/parler/bin/parler"]
CMD ["hub"]
