"""Who makes a request, for those who answer it."""

from aiohttp import web

from server.access.entrance import Caller

CALLER = web.RequestKey("caller", Caller)
