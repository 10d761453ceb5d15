"""A process with calls in several states, to be killed: `python -m tests.bench.soak.doomed URL` says when they are.

It imports next to nothing, as it is started again and again.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from tests.support.live_call import LiveCall, live_call

_TOOLS = [{"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}]


async def call_a_function(call: LiveCall) -> str:
    """Have the language model ask for a function's result; gives the call's id."""
    await call.update(tools=_TOOLS)
    await call.type("look it up")
    return str((await call.until("response.function_call_arguments.done"))["call_id"])


async def _hold_calls(url: str) -> None:
    async with AsyncExitStack() as stack:
        speaking, waiting, answered, in_tool_call = [await stack.enter_async_context(live_call(url)) for _ in range(4)]
        await speaking.append(bytes(48_000))
        await waiting.type("think")
        await waiting.until("response.created")
        await answered.type("hesitate")
        await answered.until("response.output_audio.delta")
        await call_a_function(in_tool_call)
        print("calling", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold_calls(sys.argv[1]))
