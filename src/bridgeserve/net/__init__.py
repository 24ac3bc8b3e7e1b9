"""Sockets, connections and timers: the only floor that touches a transport."""
