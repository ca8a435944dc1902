"""What kafka-python 3.0.12 does wrong to a connection, put right on the classes that it is given."""

from __future__ import annotations

from typing import Any


def close_what_does_not_connect(socket: Any) -> None:
    """A socket that could not connect is dropped without being closed: while a broker is away, one a second."""
    connect = socket.sock_connect

    async def sock_connect(self: Any, net: Any, sock: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return await connect(self, net, sock, *arguments, **named)
        except BaseException:
            sock.close()
            raise

    socket.sock_connect = sock_connect


def hear_what_came_before_the_end(transport: Any) -> None:
    """Bytes that arrive together with the end of a connection are thrown away: a refused login says why in those."""
    receive = transport._sock_recv

    def _sock_recv(self: Any) -> Any:
        data, error = receive(self)
        return (data, None) if data else (data, error)

    transport._sock_recv = _sock_recv


def end_at_a_refused_login(connection: Any, refusals: tuple[type[Exception], ...]) -> None:
    """A refused login is tried again until there is no time left, and then called a timeout; the first is raised."""
    begin = connection.initialize

    async def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        await begin(self, *arguments, **named)
        error = self.init_future.exception if self.init_future.failed() else None
        # Of a first connection only: a login that a running worker repeats may fail for a moment.
        if isinstance(error, refusals) and str(self.node_id).startswith("bootstrap"):
            raise refusals[0](str(error)) from error

    connection.initialize = initialize
