"""How this machine reaches servers elsewhere, as its environment says: through which proxy, and whose word it takes.

It reads the environment and opens nothing.
"""

import os
import ssl
import urllib.request
from urllib.parse import urlsplit

from server.addresses import is_loopback


def proxy_for(url: str) -> str | None:
    """The address of the proxy for `url` (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY); None where there is none.

    This machine itself is reached without one.
    """
    address = urlsplit(url)
    if is_loopback(address.hostname or "") or urllib.request.proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"  # as curl takes it


def trusted_authorities() -> ssl.SSLContext:
    """The certificate authorities that pip and others are told to trust; SSL_CERT_FILE is OpenSSL's own variable.

    Raises `OSError`, with its `filename`, for a file that can't be read.
    """
    bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:  # which says nothing of the file
        raise OSError(error.errno, error.strerror, bundle) from None
