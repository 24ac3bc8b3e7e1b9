"""Who may speak for somebody else: the value of `--forwarded-allow-ips`, read once.

A proxy says who its client was. That is worth as much as the proxy: whoever is not in the list is a client, whatever
it says about itself.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

ALLOWED = "addresses, networks such as 10.0.0.0/8, unix:, or alone: * or a number of proxies"
_HOPS_MAX = 32

IpAddress = IPv4Address | IPv6Address


def normal(address: IpAddress) -> IpAddress:
    """An IPv4 address that is written as an IPv6 one (RFC 4291 section 2.5.5.2) as what it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Trust:
    """The peers that are believed.

    `hops` is None when the list names them: then the chain of proxies is followed as long as it names listed ones.
    Otherwise every peer is a proxy of ours and so many are in front of us: `*` is one, for what lies further away may
    be the client's own words.
    """

    __slots__ = ("_networks", "_texts", "_unix", "hops")

    def __init__(self, texts: frozenset[str], networks: tuple[IPv4Network | IPv6Network, ...], unix: bool) -> None:
        self._texts = texts
        self._networks = networks
        self._unix = unix
        self.hops: int | None = None

    @classmethod
    def parse(cls, text: str) -> Trust:
        """Read a list with commas or white space between. An empty one, or 0, trusts nobody.

        :raises ValueError: what is wrong and what is allowed.
        """
        entries = text.replace(",", " ").split()
        alone = len(entries) == 1
        networks: list[IPv4Network | IPv6Network] = []
        trust = cls(frozenset(), (), "unix:" in entries)
        for entry in entries:
            if entry == "*" or (entry.isascii() and entry.isdecimal()):
                if not alone or (entry != "*" and int(entry) > _HOPS_MAX):
                    raise ValueError(f"{entry!r} is not allowed here; allowed: {ALLOWED} (at most {_HOPS_MAX})")
                trust.hops = (1 if entry == "*" else int(entry)) or None
            elif entry != "unix:":
                networks.append(_network(entry))
        trust._networks = tuple(networks)
        trust._texts = frozenset(str(each.network_address) for each in networks if each.num_addresses == 1)
        return trust

    def peer(self, host: str | None) -> bool:
        """May the peer of a connection speak for others? None is a unix socket."""
        if self.hops is not None:
            return True
        if host is None:
            return self._unix
        if host in self._texts:
            return True
        if not self._networks:
            return False
        try:
            return self.address(ip_address(host))
        except ValueError:
            return False

    def address(self, address: IpAddress) -> bool:
        """Is this address of a chain in the list?"""
        address = normal(address)
        return any(address in network for network in self._networks)


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(entry.strip("[]"))
    except ValueError as error:
        raise ValueError(f"{entry!r} is not allowed ({error}); allowed: {ALLOWED}") from None
