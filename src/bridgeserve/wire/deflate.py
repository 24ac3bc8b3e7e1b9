"""permessage-deflate (RFC 7692): what is agreed upon, and its memory only once it is used."""

from __future__ import annotations

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.headers import build_extension, parse_extension

from bridgeserve.groups import WebSocketLimits


class Deflate:
    """permessage-deflate as it was agreed upon (RFC 7692); its memory is taken when a compressed message comes or goes.

    :param response: the value of Sec-WebSocket-Extensions in the answer.
    :param parameters: of the library's extension.
    """

    __slots__ = ("_made", "parameters", "response")

    def __init__(self, response: str, parameters: tuple[bool, bool, int, int, dict[str, int]]) -> None:
        self.response = response
        self.parameters = parameters
        self._made: PerMessageDeflate | None = None

    @property
    def extension(self) -> PerMessageDeflate:
        """The library's extension."""
        if self._made is None:
            self._made = PerMessageDeflate(*self.parameters)
        return self._made

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Inflate a data frame of a compressed message; the library's interface for extensions."""
        if self._made is None and not frame.rsv1:
            return frame
        return self.extension.decode(frame, max_size=max_size)


def negotiate(offers: str, limits: WebSocketLimits) -> Deflate | None:
    """Choose permessage-deflate among the extensions that a client offers; None: without compression.

    :param offers: the value of Sec-WebSocket-Extensions.
    :raises ValueError: the value is no list of extensions (RFC 6455 section 9.1).
    """
    if not limits.deflate or not offers:
        return None
    try:
        offered = parse_extension(offers)
    except InvalidHeader as error:
        raise ValueError("bad Sec-WebSocket-Extensions") from error
    settings = {"memLevel": limits.memory_level}
    bits = limits.window_bits
    factory = ServerPerMessageDeflateFactory(
        server_max_window_bits=bits, client_max_window_bits=bits, compress_settings=settings
    )
    for name, parameters in offered:
        if name != factory.name:
            continue
        try:
            chosen, made = factory.process_request_params(parameters, [])
        except NegotiationError:
            continue  # another offer may do (RFC 7692 section 5.1)
        agreed = (
            made.remote_no_context_takeover,
            made.local_no_context_takeover,
            made.remote_max_window_bits,
            made.local_max_window_bits,
            settings,
        )
        return Deflate(build_extension([(name, chosen)]), agreed)
    return None
