"""What TLS is served with: the context, and how long a peer may take for its part of beginning and end."""

import ssl
from typing import TypedDict

from tcp_ingress.connection import LINGER_SECONDS
from tcp_ingress.settings import IngressSettings

HANDSHAKE_SECONDS = 10.0


class TlsArguments(TypedDict, total=False):
    """Of the event loop's calls that accept connections; empty without TLS, where they would be refused."""

    ssl: ssl.SSLContext
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


def tls_arguments(settings: IngressSettings) -> TlsArguments:
    """Reads certificate and key. Raises OSError, also as ssl.SSLError, where they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(settings.tls_cert_file), settings.tls_key_file)
    return {
        "ssl": context,
        "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        "ssl_shutdown_timeout": LINGER_SECONDS,  # a peer that does not say its farewell must not hold up a drain
    }
