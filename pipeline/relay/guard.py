"""Which addresses the relay connects to: the one that was checked, and no other."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from longwatch.pipeline.config import Allow

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Answered by cloud providers' metadata services, and inside ranges that are otherwise ordinary private networks.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))


class AddressRefusedError(Exception):
    """The host is not on the list, or its name leads where the relay must not go."""


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Looks a host up once, checks every address it has, and connects to one of those."""

    def __init__(self, allow: Allow, look_up: Resolve = resolve) -> None:
        self._allow = allow
        self._look_up = look_up

    def addresses(self, host: str, port: int) -> list[str]:
        """The host's addresses; AddressRefusedError when any of them may not be reached."""
        if not self._allow.lists(host):
            raise AddressRefusedError(f"host {host} is not in relay.allow")
        found = self._look_up(host, port)
        for text in found:
            kind = _forbidden(ipaddress.ip_address(text.partition("%")[0]))
            if kind is not None and not self._permits(host, text, kind):
                raise AddressRefusedError(f"host {host} has the {kind} address {text}")
        return found

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to one of the checked addresses; each operation on it ends within `timeout_s`."""
        error: OSError = OSError(f"host {host} has no address")
        found = self.addresses(host, port)
        for address in found:
            try:
                stream = socket.create_connection((address, port), timeout_s / len(found))
                stream.settimeout(timeout_s)
                return stream
            except OSError as failure:
                error = failure
        raise error

    def _permits(self, host: str, address: str, kind: str) -> bool:
        if kind in ("loopback", "private"):
            return self._allow.is_private(host)
        # The host is the address itself: nobody who controls a name can lead here.
        return kind in ("link-local", "metadata") and self._allow.is_private(host) and host.strip("[]") == address


def _forbidden(address: Address) -> str | None:
    """What kind of address it is when it is not a public one, whatever it is wrapped in."""
    inner = _embedded(address)
    if inner is not None:
        return _forbidden(inner)
    if address in _METADATA:
        return "metadata"
    if address.is_unspecified or address.is_multicast:
        return "unspecified or multicast"
    if address.is_link_local:
        return "link-local"
    if address.is_loopback:
        return "loopback"
    return None if address.is_global and not address.is_reserved else "private"


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one that leads there: mapped, 6to4, Teredo, NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    teredo = address.teredo[1] if address.teredo is not None else None
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    return address.ipv4_mapped or address.sixtofour or teredo or nat64


class Cutoff:
    """Ends a connection when its time is over, however slowly the other side keeps sending."""

    def __init__(self) -> None:
        self._connection: Any = None
        self.over = False

    def watch(self, connection: socket.socket) -> socket.socket:
        """The connection that is to be cut; the last one given counts."""
        self._connection = connection
        if self.over:
            self.cut()
        return connection

    def cut(self) -> None:
        """Wake whoever reads or writes; each call then fails or sees the end."""
        self.over = True
        if self._connection is not None:
            try:
                # Not SSLSocket.shutdown, which takes the TLS object away from under the thread that reads.
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
            except OSError:
                return


def secured(stream: socket.socket, tls: ssl.SSLContext, host: str, cutoff: Cutoff) -> ssl.SSLSocket:
    """TLS over a connection; the handshake can be cut off as well."""
    try:
        inside = tls.wrap_socket(stream, server_hostname=host, do_handshake_on_connect=False)
        cutoff.watch(inside)
    except BaseException:
        stream.close()
        raise
    try:
        inside.do_handshake()
    except BaseException:
        inside.close()
        raise
    return inside


@contextmanager
def cut_off_after(seconds: float) -> Iterator[Cutoff]:
    """A connection watched in this block is cut when the block takes longer."""
    cutoff = Cutoff()
    timer = threading.Timer(seconds, cutoff.cut)
    timer.daemon = True
    timer.start()
    try:
        yield cutoff
    finally:
        timer.cancel()
