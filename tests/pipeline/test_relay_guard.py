"""Where the relay connects to, and where it does not whatever a name leads to."""

import socket
import threading

import pytest

from longwatch.pipeline.config import Allow
from longwatch.pipeline.relay.guard import AddressRefusedError, Guard, cut_off_after

PUBLIC = "93.184.216.34"


def guard(*found: str, **allow: object) -> Guard:
    settings = {"hosts": ["hooks.example.com"]} | allow
    return Guard(Allow.model_validate(settings), lambda *_: list(found))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "169.254.169.254",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "100.64.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "192.0.0.192",
        "fc00::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
    ],
)
def test_no_name_leads_to_an_address_that_is_not_public(address: str):
    with pytest.raises(AddressRefusedError, match=r"hooks\.example\.com has the"):
        guard(address).addresses("hooks.example.com", 443)
    with pytest.raises(AddressRefusedError):
        guard(PUBLIC, address).addresses("hooks.example.com", 443)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_are_reached(address: str):
    assert guard(address).addresses("hooks.example.com", 443) == [address]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fc00::1", "::ffff:10.0.0.1"])
def test_a_private_address_is_reached_where_its_host_is_named_as_private(address: str):
    allowed = guard(address, private_hosts=["Alertmanager.Internal."])
    assert allowed.addresses("alertmanager.internal", 9093) == [address]


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "100.100.100.200", "0.0.0.0", "224.0.0.1"])
def test_a_private_host_still_leads_to_no_metadata_service(address: str):
    with pytest.raises(AddressRefusedError):
        guard(address, private_hosts=["alertmanager.internal"]).addresses("alertmanager.internal", 80)


def test_a_link_local_address_is_reached_only_when_it_is_itself_in_the_list():
    assert guard("169.254.1.1", private_hosts=["169.254.1.1"]).addresses("169.254.1.1", 80) == ["169.254.1.1"]


def test_a_host_that_is_not_listed_is_not_even_looked_up():
    def look_up(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(AddressRefusedError, match=r"not in relay\.allow"):
        Guard(Allow(hosts=("hooks.example.com",)), look_up).addresses("example.com", 443)


def test_numbers_that_mean_this_machine_are_seen_through_by_the_systems_resolver():
    real = Guard(Allow(hosts=("2130706433", "0x7f.1", "127.1")))
    for host in ("2130706433", "0x7f.1", "127.1"):
        with pytest.raises(AddressRefusedError, match="loopback"):
            real.addresses(host, 80)


def test_a_name_is_looked_up_once_and_the_checked_address_is_the_one_connected_to():
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        rebinding = Guard(Allow(private_hosts=("app.internal",)), lambda *_: next(answers))
        with rebinding.connect("app.internal", port, 5) as stream:
            assert stream.getpeername() == ("127.0.0.1", port)
    assert next(answers) == ["169.254.169.254"]


def test_a_read_is_cut_off_however_slowly_the_other_side_sends():
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            try:
                theirs.send(b".")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    with ours, theirs, cut_off_after(0.2) as cutoff:
        cutoff.watch(ours)
        while ours.recv(100):
            pass
        assert cutoff.over
        stop.set()
        dripping.join()
