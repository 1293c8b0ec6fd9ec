# The relay alone. Build: docker build -t a2a-relay .   Run: see compose.yaml

FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements/server.lock requirements/server.lock
RUN python -m venv /opt/relay \
    && /opt/relay/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/server.lock
COPY pyproject.toml LICENSE README.md ./
COPY src src
RUN /opt/relay/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
# A fixed number, so that volumes keep their owner and runAsNonRoot can be checked.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin relay \
    && install -d -o relay -g relay -m 0700 /data
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
VOLUME /data
EXPOSE 8080
# The relay handles signals itself and starts no other programs: it may be process 1.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8080') + '/readyz', timeout=2)"]
ENTRYPOINT ["relay"]
CMD ["serve", "--host", "0.0.0.0", "--data-dir", "/data"]
