"""Whether there is a broker at all, asked before a client is made."""

import socket

from longwatch.pipeline.kafka_errors import BrokerUnreachableError
from longwatch.pipeline.kafka_settings import KafkaSettings


def check_reachable(settings: KafkaSettings) -> None:
    """Raise BrokerUnreachableError unless some broker accepts a connection.

    A kafka-python client that cannot start raises and leaves a thread behind that tries for ever.
    """
    if {"proxy_url", "socks5_proxy"} & settings.client.keys():
        return
    failures = []
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), settings.connect_timeout_ms / 2000).close()
        except OSError as error:
            failures.append(f"{server}: {error}")
        else:
            return
    raise BrokerUnreachableError(
        f"no connection to Kafka: {'; '.join(failures)}", "check bootstrap_servers and that a broker is running there"
    )
