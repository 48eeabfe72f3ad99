# A Rust to build the image with: the toolchain of this machine, where rust:1.95 cannot be pulled.
FROM postern-test/debian
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY bin/cargo bin/rustc /usr/local/bin/
COPY lib /usr/local/lib/
ENV CARGO_HOME=/usr/local/cargo
