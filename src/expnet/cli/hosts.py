"""The names by which a server of ours may be addressed."""

import ipaddress
from collections.abc import Sequence

from expnet.cli.outputs import say

_LOCAL = ("localhost", "127.0.0.1", "::1")


def served_names(host: str, allowed: Sequence[str] | None) -> list[str]:
    """Return the names a server answers to: the address it listens on, those of the loopback, and those allowed.

    Warns on standard error if other machines can reach the address.
    """
    if host not in _LOCAL and not _loopback(host):
        say(
            "expnet: anyone who reaches this address can use the models; there are no passwords. Clients reach it by "
            "IP address; --allow-host NAME lets them use a host name."
        )
    return [host, *_LOCAL, *(allowed or ())]


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
