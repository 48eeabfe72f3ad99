# Debian's Redis, as the chart's demo runs it.
FROM postern-test/debian
COPY usr /opt/redis/usr
ENV LD_LIBRARY_PATH=/opt/redis/usr/lib/x86_64-linux-gnu
WORKDIR /data
ENTRYPOINT ["/opt/redis/usr/bin/redis-server"]
