# The image: one static binary, the public authorities, and nothing else. `docker build -t postern .`
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm
FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# A target that is named keeps build scripts out of the static linking.
RUN TARGET="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile image -p cli --target "$TARGET" \
 && install -D "target/$TARGET/image/postern" /image/postern \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf \
 && install -d -m 1777 /image/tmp

FROM scratch
COPY --from=build /image /
USER 65532:65532
EXPOSE 8080 9901
ENTRYPOINT ["/postern"]
