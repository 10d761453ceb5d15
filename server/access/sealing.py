"""Texts that a client keeps for the fleet and can neither read nor change. Any node opens them; nothing is stored.

Pure but for the random salt of a new text.

The form, in base64url without padding: version (1 byte), key id (4), salt (16), then AES-256-GCM over what is sealed,
compressed, with all before it as associated data. Key and nonce are made by HKDF-SHA256 of the secret with the text's
own salt: a fleet seals more texts than random nonces under a single key are safe for (2^32, NIST SP 800-38D).
"""

import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.errors import VoicefleetError

VERSION = 1
SALT_BYTES = 16
_KEY_ID_BYTES, _KEY_BYTES, _NONCE_BYTES = 4, 32, 12
_HEADER_BYTES = 1 + _KEY_ID_BYTES + SALT_BYTES

SealFault = Literal["damaged", "unknown_version", "unknown_key"]


class SealBroken(VoicefleetError):
    """A text that no node sealed with a secret that this one has, or that was changed since."""

    def __init__(self, reason: SealFault) -> None:
        super().__init__(f"the text can't be opened ({reason})")
        self.reason: SealFault = reason


class Seal:
    """Seals with the first of `secrets`, opens with any of them.

    `purpose` says what is sealed: a text that was sealed for one purpose opens for no other.
    """

    def __init__(self, secrets: Sequence[str], purpose: str) -> None:
        self._info = purpose.encode()
        self._secrets = {_derive(secret, b"", self._info + b" key id", _KEY_ID_BYTES): secret for secret in secrets}
        self._sealing = next(iter(self._secrets))

    def seal(self, plain: bytes) -> str:
        """`plain` as its client keeps it. Takes milliseconds where it is long."""
        header = bytes([VERSION]) + self._sealing + secrets.token_bytes(SALT_BYTES)
        cipher, nonce = self._cipher(header)
        sealed = header + cipher.encrypt(nonce, zlib.compress(plain), header)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str) -> bytes:
        """What was sealed. Raises `SealBroken`."""
        sealed = _decoded(text)
        header = sealed[:_HEADER_BYTES]
        if len(header) < _HEADER_BYTES:
            raise SealBroken("damaged")
        if header[0] != VERSION:
            raise SealBroken("unknown_version")
        if header[1 : 1 + _KEY_ID_BYTES] not in self._secrets:
            raise SealBroken("unknown_key")
        cipher, nonce = self._cipher(header)
        try:
            return zlib.decompress(cipher.decrypt(nonce, sealed[_HEADER_BYTES:], header))
        except InvalidTag:
            raise SealBroken("damaged") from None

    def _cipher(self, header: bytes) -> tuple[AESGCM, bytes]:
        secret, salt = self._secrets[header[1 : 1 + _KEY_ID_BYTES]], header[1 + _KEY_ID_BYTES :]
        derived = _derive(secret, salt, self._info, _KEY_BYTES + _NONCE_BYTES)
        return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES:]


def _decoded(text: str) -> bytes:
    """Raises `SealBroken`, also where other text than this would say the same."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise SealBroken("damaged") from None
    if urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        raise SealBroken("damaged")
    return sealed


def _derive(secret: str, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret.encode())
