"""Ports of loopback that are free now, for programs that have to be told theirs."""

import socket


def free_ports(number: int) -> list[int]:
    """So many different ones."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
