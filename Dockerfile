# Speech on a CPU: docker build -t zipvoice . && docker run --rm -v "$PWD:/out" zipvoice say "Hello." -o /out/hello.wav
FROM python:3.11-slim
WORKDIR /opt/zipvoice
COPY pyproject.toml README.md LICENSE ./
COPY zipvoice zipvoice
RUN pip install --no-cache-dir ".[chinese,server]" \
    && useradd --create-home speaker && install --directory --owner=speaker /voices
USER speaker
WORKDIR /home/speaker
ENTRYPOINT ["zipvoice"]
CMD ["--help"]
