"""A telephone assistant for LiveKit whose model is a Voicefleet node: it hears, thinks and speaks there.

Telephone calls come in by LiveKit's SIP service, as a room each. Run it as README says.
"""

import asyncio
import os

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    APIConnectOptions,
    JobContext,
    ToolError,
    function_tool,
    get_job_context,
    room_io,
)
from livekit.plugins import openai

URL = os.environ.get("VOICEFLEET_URL", "ws://127.0.0.1:9000/v1")
KEY = os.environ.get("VOICEFLEET_KEY", "none")  # any text will do where the node has no keys
TRANSFER_TO = os.environ.get("TRANSFER_TO", "tel:+15550100")

SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
KEYS_PAUSE = 2.0  # seconds without another key that end a row of keys; `#` does at once


class Desk(Agent):
    """The person who answers: instructions, a greeting, and what they can look up or do."""

    def __init__(self) -> None:
        super().__init__(instructions="You answer a library's telephone. Say one or two short sentences at a time.")

    async def on_enter(self) -> None:
        """Greet the caller."""
        await self.session.generate_reply(instructions="Greet the caller in one short sentence.")

    @function_tool
    async def opening_hours(self, day: str) -> str:
        """When the library is open.

        Args:
            day: The day of the week, in English.
        """
        return "closed" if day.lower() == "sunday" else "from nine to five"

    @function_tool
    async def transfer_to_a_person(self) -> str:
        """Hand the caller over to a person."""
        job = get_job_context()
        callers = [someone for someone in job.room.remote_participants.values() if someone.kind == SIP]
        if not callers:
            raise ToolError("This call did not come by telephone.")
        await job.transfer_sip_participant(callers[0], TRANSFER_TO)  # a SIP REFER; LiveKit's part
        return "The caller is being put through."


server = AgentServer()


@server.rtc_session(agent_name="voicefleet-desk")
async def answer(job: JobContext) -> None:
    """Hold one call."""
    model = openai.realtime.RealtimeModel(
        model="voicefleet",
        base_url=URL,
        api_key=KEY,
        # A node holds a call for two hours; the plug-in would begin another one every 20 minutes.
        max_session_duration=None,
        # A full node answers 503; behind a load balancer another one may have room.
        conn_options=APIConnectOptions(max_retry=4, retry_interval=2.0),
    )
    session: AgentSession[None] = AgentSession(llm=model)
    keys = ""
    pause: asyncio.TimerHandle | None = None

    def tell_keys() -> None:
        nonlocal keys
        session.interrupt()
        session.generate_reply(user_input=f"The caller pressed {', '.join(keys)}.")
        keys = ""

    @job.room.on("sip_dtmf_received")
    def _(pressed: rtc.SipDTMF) -> None:
        nonlocal keys, pause
        keys += pressed.digit
        if pause:
            pause.cancel()
        pause = asyncio.get_running_loop().call_later(0 if pressed.digit == "#" else KEYS_PAUSE, tell_keys)

    # When the node hangs up, so does LiveKit.
    await session.start(agent=Desk(), room=job.room, room_options=room_io.RoomOptions(delete_room_on_close=True))
