# Speech on a CPU: docker build -t zipvoice . && docker run --rm -v "$PWD:/out" zipvoice say "Hello." -o /out/hello.wav
# On GPUs of NVIDIA: docker build --build-arg EXTRAS=chinese,server,torch -t zipvoice-cuda . && docker run --gpus all …
FROM python:3.11-slim
ARG EXTRAS=chinese,server
WORKDIR /opt/zipvoice
COPY pyproject.toml README.md LICENSE ./
COPY zipvoice zipvoice
# PyTorch from PyPI brings CUDA along; the machine adds its driver, by the container toolkit of NVIDIA.
RUN pip install --no-cache-dir ".[${EXTRAS}]" \
    && useradd --create-home speaker && install --directory --owner=speaker /voices
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER speaker
WORKDIR /home/speaker
ENTRYPOINT ["zipvoice"]
CMD ["--help"]
