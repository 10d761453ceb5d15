"""What an address says of where it leads. Pure: no name is looked up and nothing is opened."""

import ipaddress
import re

_USER = re.compile(r"(?<=//)[^/?#]*@")
_SERVER = re.compile(r"https?://[^/?#]*")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, str]:
    """Host and port of `HOST:PORT`, an IPv6 host without its brackets; what is missing is empty."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def is_local(address: str) -> bool:
    """Whether a gRPC address, `HOST:PORT` or `unix:PATH`, surely lies on this machine."""
    return address.startswith("unix:") or is_loopback(split_address(address)[0])


def without_user(url: str) -> str:
    """`url` without user and password."""
    return _USER.sub("", url)


def server_of(url: str) -> str:
    """Scheme, host and port of the URL that `url` is or ends with, as it may be shown."""
    return "".join(_SERVER.findall(without_user(url)))


def without_secrets(url: str) -> str:
    """`url` as it may be shown: without user, password, query and fragment."""
    return _QUERY.sub("", without_user(url))
