# edarts for the CPU, from a clone: docker build -t edarts .
# Then, for images in ./photos: docker run --rm -v "$PWD:/work" edarts find photos
#
# pytorch.org names the index of PyTorch's wheels for the CPU, which are a tenth of the size:
# docker build --build-arg PIP_EXTRA_INDEX_URL=... --build-arg TORCH=+cpu -t edarts .
FROM python:3.11-slim
ARG PIP_EXTRA_INDEX_URL=""
ARG TORCH=""
# OpenMP, without which the compiled loops take up to twice the time.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /edarts
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt \
      "torch==$(sed -n 's/^torch==//p' constraints.txt)$TORCH" \
 && pip install --no-cache-dir -c constraints.txt .
WORKDIR /work
ENTRYPOINT ["edarts"]
CMD ["--help"]
