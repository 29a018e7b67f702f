# The server, `expnet serve`, on a CPU. docs/serve.md says how to build and run it.
#
# TORCH_INDEX, where given, is the index to take torch from, for its CPU build (docs/dependencies.md). Without it, pip
# installs the build for CUDA, which works on a CPU as well and is about 3 GB larger.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/expnet
ENV PATH=/opt/expnet/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --index-url "$TORCH_INDEX" "$(grep --only-matching '^torch==[^ ]*' constraints.txt)"; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt '.[serve,demo]'

FROM python:3.11-slim
COPY --from=build /opt/expnet /opt/expnet
ENV PATH=/opt/expnet/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 expnet
USER 10001:10001
WORKDIR /home/expnet
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["expnet", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["demo/sentiment"]
