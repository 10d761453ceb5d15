"""`voicefleet token`: makes what a caller shows, a short-lived client token or a new API key.

Standard output holds nothing but the credential (and, of a key, the line for the node), so that it can be piped.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from server.access.auth import MAX_TOKEN_SECONDS, TokenRefused, mint_token, new_api_key
from server.errors import VoicefleetError
from server.settings.loading import load_settings


def token(
    subject: Annotated[str, typer.Option(help="Who will call: a name for logs and limits, no secret.")] = "client",
    ttl: Annotated[
        int, typer.Option(help=f"Seconds until it expires, {MAX_TOKEN_SECONDS} at most; its calls end then.")
    ] = 7200,  # as long as a call lasts at most by default
    sessions: Annotated[
        int, typer.Option(min=0, help="Calls at once, where that is less than VOICE_SESSIONS_PER_TOKEN; 0: as many.")
    ] = 0,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make an API key instead of a token.")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with the node's settings.")] = None,
) -> None:
    """Make a token, signed with VOICE_TOKEN_SECRET, or an API key for VOICE_API_KEYS."""
    if new_key:
        key, hashed = new_api_key()
        typer.echo(f"{key}\nVOICE_API_KEYS={hashed}")
        return
    try:
        secret = load_settings(config).token_secret
        if secret is None:
            raise TokenRefused(
                "VOICE_TOKEN_SECRET: got nothing; takes the secret that the node has (`openssl rand -hex 32` makes one)"
            )
        typer.echo(mint_token(secret.get_secret_value(), subject, ttl, time.time(), sessions))
    except VoicefleetError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
