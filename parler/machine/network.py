"""Which addresses of the network are this machine's."""

from importlib import import_module


def own_addresses() -> frozenset[str]:
    """The addresses of all interfaces, as the system writes them, without zones."""
    psutil = import_module("psutil")  # slow, and seldom needed

    return frozenset(
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    )
