# One image for `callboard serve` (the default), `callboard worker`, and Celery's worker, beat and Flower. docs/deploying.md tells how to run it.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# The locked dependencies are a layer of their own: a change of the code does not install them again.
COPY requirements-celery.lock ./
RUN pip install --require-hashes --requirement requirements-celery.lock

# Editable, so that the code stays in /app/src: migrations/ is looked for beside src/ (core/migrations.py).
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-deps --editable . \
    && python -m compileall -q src

COPY migrations ./migrations
COPY workflows ./workflows

RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data callboard \
    && install --directory --owner=callboard --group=callboard --mode=0700 /data
USER callboard

# Local data only: the SQLite file, and the keys that a first start in development makes.
VOLUME /data
ENV CALLBOARD_HOME=/data \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000
EXPOSE 8000

# For `serve`; a worker answers no HTTP and is run with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:%s/health/live' % (os.environ.get('PORT') or 8000), timeout=4)"]

# The exec form: SIGTERM reaches Callboard itself, which hands its jobs back before it ends.
CMD ["callboard", "serve"]
