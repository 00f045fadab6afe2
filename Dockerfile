# Speech on a CPU: docker build -t zipvoice . && docker run --rm -v "$PWD:/out" zipvoice say "Hello." -o /out/hello.wav
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /opt/zipvoice
COPY pyproject.toml README.md LICENSE ./
COPY zipvoice zipvoice
# The CPU build first: the default torch for Linux brings some gigabytes of CUDA along.
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch \
    && pip install --no-cache-dir ".[phonemes,chinese]" \
    && useradd --create-home speaker
USER speaker
WORKDIR /home/speaker
ENTRYPOINT ["zipvoice"]
CMD ["--help"]
