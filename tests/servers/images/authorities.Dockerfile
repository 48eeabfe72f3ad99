FROM postern-test/rust
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
