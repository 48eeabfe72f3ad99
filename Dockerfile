# The image: one static binary, the public authorities, and nothing else. `docker build -t postern .`
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm
FROM ${BUILDER} AS build
# What ships; `dev` builds sooner and runs slower.
ARG PROFILE=image
WORKDIR /src
COPY . .
# What is built stays for the next build. A target that is named keeps build scripts out of the static linking. Relocations
# are packed: each process reads them at its start.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    TARGET="$(rustc -vV | sed -n 's/^host: //p')" \
 && CARGO_PROFILE_DEV_STRIP=true RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
    cargo build --locked --profile "$PROFILE" -p cli --target "$TARGET" \
 && install -D "target/$TARGET/$(echo "$PROFILE" | sed 's/^dev$/debug/')/postern" /image/postern \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf \
 && install -d -m 1777 /image/tmp

FROM scratch
COPY --from=build /image /
USER 65532:65532
EXPOSE 8080 9901
ENTRYPOINT ["/postern"]
