"""Twilio's way in: from the handshake of a Media Stream to its `start`, when it is known what it is and who it is from.

Twilio signs its handshakes; a stream that is not signed shows a token in its `start`, the first place where its TwiML
can put one. Until then a stream holds no place on the node, and its connection for a few seconds only.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from websockets.protocol import State

from server.access.admission import Admission, AdmissionRefused
from server.access.auth import InvalidCredentials, Principal
from server.access.entrance import Entrance
from server.connection import Connection
from server.dialects.dialect import Abilities, ClientAtFault
from server.dialects.twilio.messages import StreamDetails
from server.dialects.twilio.opening import Opening
from server.dialects.twilio.parameters import Parameters, read_parameters
from server.observability import metrics

log = structlog.get_logger(__name__)

_START_SECONDS = 5.0  # Twilio sends it at once
_TRY_AGAIN_LATER = 1013


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that has started, and what its TwiML sets."""

    sid: str
    parameters: Parameters


class TwilioEntrance:
    """Lets streams in by Twilio's signature, or by a token; where the node knows neither, everyone."""

    def __init__(self, admission: Admission, entrance: Entrance) -> None:
        self._admission = admission
        self._entrance = entrance

    def signed_by(self, headers: Mapping[str, str], path: str) -> Principal | None:
        """Who signed a handshake; None where that is still to be shown, or need not be. Raises `InvalidCredentials`."""
        signatures = self._entrance.signatures
        signer = signatures.authenticate(headers, path) if signatures else None
        if signatures and not (signer or self._entrance.authenticator):
            raise InvalidCredentials("not_twilio")
        return signer

    async def open(self, connection: Connection, abilities: Abilities) -> Stream | None:
        """The stream, which has its place on the node now; None where its connection is over already."""
        try:
            details = await _started(connection)
            if details is None:
                return None
            parameters = read_parameters(details.custom_parameters, abilities)
            connection.principal = self._caller(connection.principal, parameters.token)
            if connection.state is not State.OPEN:  # it has hung up meanwhile, and no place would be given back
                return None
            connection.lease = self._admission.admit(connection.principal)
        except ClientAtFault as fault:
            await connection.end_faulty(fault)
            return None
        except AdmissionRefused as refusal:
            metrics.handshakes_refused.labels(refusal.reason).inc()
            log.info("stream_refused", reason=refusal.reason)
            await connection.end(_TRY_AGAIN_LATER, str(refusal))
            return None
        log.info("stream_started", stream_sid=details.stream_sid, call_sid=details.call_sid)
        return Stream(details.stream_sid, parameters)

    def _caller(self, signer: Principal | None, token: str) -> Principal | None:
        """Who the token names, if there is one, else who signed the handshake. Raises `ClientAtFault`."""
        authenticator = self._entrance.authenticator
        if authenticator is None or (signer and not token):
            return signer
        if not token:
            raise ClientAtFault("credentials", 1008, "takes a handshake that Twilio has signed, or a parameter token")
        try:
            return authenticator.authenticate(token)
        except InvalidCredentials as error:
            raise ClientAtFault("credentials", 1008, f"parameter token: {error}") from None


async def _started(connection: Connection) -> StreamDetails | None:
    """What the stream is of; None if it has gone before. Raises `ClientAtFault`."""
    opening = Opening()
    try:
        async with asyncio.timeout(_START_SECONDS):
            async with aclosing(connection.messages()) as messages:
                async for message in messages:
                    if started := opening.receive(message):
                        return started
    except TimeoutError:
        raise ClientAtFault("no_start", 1008, f"takes 'start' within {_START_SECONDS:g} seconds") from None
    return None
