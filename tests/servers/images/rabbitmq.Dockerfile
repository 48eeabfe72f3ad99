# Debian's RabbitMQ, as the chart's demo runs it; its user and password come as RABBITMQ_DEFAULT_USER and _PASS.
FROM postern-test/debian
ARG HOME_BEFORE
COPY usr /opt/rabbitmq/usr
# Erlang's scripts know where they are.
RUN grep -rIl "${HOME_BEFORE}" /opt/rabbitmq/usr/lib/erlang | xargs sed -i "s|${HOME_BEFORE}|/opt/rabbitmq|g" \
 && install -d -m 777 /var/lib/rabbitmq
ENV PATH=/opt/rabbitmq/usr/lib/erlang/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_LOGS=- RABBITMQ_LOG_BASE=/var/lib/rabbitmq \
    RABBITMQ_MNESIA_BASE=/var/lib/rabbitmq/mnesia RABBITMQ_ENABLED_PLUGINS_FILE=/var/lib/rabbitmq/plugins RABBITMQ_CONF_ENV_FILE=/none \
    RABBITMQ_PID_FILE=/var/lib/rabbitmq/pid RUNNING_UNDER_SYSTEMD=true
ENTRYPOINT ["/opt/rabbitmq/usr/lib/rabbitmq/server/sbin/rabbitmq-server"]
