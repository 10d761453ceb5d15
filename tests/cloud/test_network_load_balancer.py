"""The balancer of the tests: the states of a target in virtual time, and real connections through it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import Target, TargetGroup

_GROUP = TargetGroup(
    healthy_threshold=2,
    unhealthy_threshold=2,
    unhealthy_termination=False,
    unhealthy_draining_interval=100.0,
    registration=120.0,
    late_connections=30.0,
)


def _healthy(group: TargetGroup = _GROUP) -> Target:
    target = Target(group, 0.0)
    for now in (130.0, 140.0):
        target.checked(True, now)
    return target


def test_checks_count_once_registration_is_complete() -> None:
    target = Target(_GROUP, 0.0)
    for now in (10.0, 20.0, 125.0):
        target.checked(True, now)
        assert target.state(now) == "initial"
        assert not target.offered(now)
    target.checked(True, 135.0)
    assert target.state(135.0) == "healthy"
    assert target.offered(135.0)


def test_a_target_that_never_passes_is_unhealthy() -> None:
    target = Target(_GROUP, 0.0)
    target.checked(False, 130.0)
    assert target.state(130.0) == "initial"
    target.checked(False, 140.0)
    assert target.state(140.0) == "unhealthy.draining"


def test_failures_count_in_a_row() -> None:
    target = _healthy()
    for now, passed in ((150.0, False), (160.0, True), (170.0, False)):
        target.checked(passed, now)
    assert target.state(170.0) == "healthy"


def test_connections_of_an_unhealthy_target_live_for_the_draining_interval() -> None:
    target = _healthy()
    for now in (150.0, 160.0, 170.0):
        target.checked(False, now)
    assert target.state(259.0) == "unhealthy.draining"
    assert target.keeps(259.0)
    assert target.offered(199.0), "not all of the balancer knows yet"
    assert not target.offered(200.0)
    assert target.state(260.0) == "unhealthy"
    assert not target.keeps(260.0)


def test_a_target_that_recovers_gets_connections_again() -> None:
    target = _healthy()
    for now, passed in ((150.0, False), (160.0, False), (170.0, True), (180.0, True)):
        target.checked(passed, now)
    assert target.state(300.0) == "healthy"


def test_by_default_connections_end_with_health() -> None:
    target = _healthy(TargetGroup(healthy_threshold=2, registration=0.0))
    for now in (210.0, 220.0):
        target.checked(False, now)
    assert target.state(220.0) == "unhealthy"
    assert not target.keeps(220.0)


def test_without_an_interval_an_unhealthy_target_keeps_its_connections() -> None:
    target = _healthy(TargetGroup(healthy_threshold=2, unhealthy_termination=False, registration=0.0))
    for now in (150.0, 160.0):
        target.checked(False, now)
    assert target.state(10_000.0) == "unhealthy"
    assert target.keeps(10_000.0)


def test_a_target_that_leaves_gets_late_connections_and_keeps_what_it_has() -> None:
    target = _healthy()
    target.deregister(200.0)
    target.checked(False, 205.0)
    target.checked(True, 208.0)
    assert target.state(210.0) == "draining"
    assert target.offered(229.0)
    assert not target.offered(230.0)
    assert target.state(500.0) == "unused"
    assert target.keeps(10_000.0)


def test_connections_end_with_deregistration_where_that_is_asked_for() -> None:
    target = _healthy(TargetGroup(healthy_threshold=2, registration=0.0, deregistration_termination=True))
    target.deregister(200.0)
    assert target.keeps(499.0)
    assert not target.keeps(500.0)


@pytest.mark.parametrize("left_at", [145.0, 170.0], ids=["and turns unhealthy", "while it is unhealthy"])
def test_a_target_that_leaves_and_is_unhealthy_loses_its_connections(left_at: float) -> None:
    target = _healthy()
    if left_at < 150.0:
        target.deregister(left_at)
        assert target.keeps(150.0)
    for now in (150.0, 160.0):
        target.checked(False, now)
    if left_at > 150.0:
        assert target.keeps(165.0)
        target.deregister(left_at)
    assert target.state(170.0) == "draining"
    assert not target.keeps(170.0)
    for now in (180.0, 190.0):
        target.checked(True, now)
    assert not target.keeps(190.0)


def test_a_target_that_never_was_healthy_gets_no_late_connections() -> None:
    target = Target(_GROUP, 0.0)
    for now in (130.0, 140.0):
        target.checked(False, now)
    assert not target.offered(141.0)


class _Service:
    """Echoes lines, and says whether it is in service."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_service = True

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(self.name.encode() + b" " + line)
        writer.close()

    async def check(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.in_service else 503)


@asynccontextmanager
async def _balanced(group: TargetGroup, *names: str) -> AsyncIterator[tuple[NetworkLoadBalancer, dict[str, _Service]]]:
    services = {name: _Service(name) for name in names}
    async with NetworkLoadBalancer(group, _SPEED) as balancer:
        runners = []
        for name, service in services.items():
            server = await asyncio.start_server(service.echo, "127.0.0.1", 0)
            app = web.Application()
            app.router.add_get("/in-service", service.check)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            runners.append((server, runner))
            balancer.register(name, port=server.sockets[0].getsockname()[1], http_port=runner.addresses[0][1])
        try:
            yield balancer, services
        finally:
            for server, runner in runners:
                server.close()
                await runner.cleanup()


_QUICK = TargetGroup(
    check_interval=2.0,
    healthy_threshold=2,
    unhealthy_termination=False,
    unhealthy_draining_interval=6000.0,
    registration=0.0,
    late_connections=0.0,
    late_connections_unhealthy=0.0,
)
_SPEED = 100.0


async def _connect(balancer: NetworkLoadBalancer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = balancer.address.split(":")
    return await asyncio.open_connection(host, int(port))


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"hello\n")
    return (await reader.readline()).decode().strip()


async def test_connections_spread_over_healthy_targets_and_stay_where_they_are() -> None:
    async with _balanced(_QUICK, "a", "b") as (balancer, services), asyncio.timeout(10):
        await balancer.until(a="healthy", b="healthy")
        flows = [await _connect(balancer) for _ in range(40)]
        before = [await _said(*flow) for flow in flows]
        assert set(before) == {"a hello", "b hello"}
        services["a"].in_service = False
        await balancer.until(a="unhealthy.draining")
        assert [await _said(*flow) for flow in flows] == before
        assert {await _said(*await _connect(balancer)) for _ in range(10)} == {"b hello"}


async def test_where_no_target_is_healthy_any_is_taken() -> None:
    async with _balanced(_QUICK, "a") as (balancer, services), asyncio.timeout(10):
        services["a"].in_service = False
        await balancer.until(a="unhealthy.draining")
        assert await _said(*await _connect(balancer)) == "a hello"


async def test_without_targets_a_connection_is_reset() -> None:
    async with _balanced(_QUICK) as (balancer, _), asyncio.timeout(10):
        reader, _ = await _connect(balancer)
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_an_end_of_one_side_reaches_the_other() -> None:
    async with _balanced(_QUICK, "a") as (balancer, _), asyncio.timeout(10):
        await balancer.until(a="healthy")
        reader, writer = await _connect(balancer)
        assert await _said(reader, writer) == "a hello"
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_reset_is_one_to_the_caller() -> None:
    async with _balanced(_QUICK, "a") as (balancer, _), asyncio.timeout(10):
        await balancer.until(a="healthy")
        reader, writer = await _connect(balancer)
        await _said(reader, writer)
        assert balancer.connections("a") == 1
        balancer.reset("a")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_an_idle_connection_is_forgotten_and_who_uses_it_hears_so() -> None:
    async with _balanced(replace(_QUICK, idle_timeout=0.2), "a") as (balancer, _), asyncio.timeout(10):
        await balancer.until(a="healthy")
        reader, writer = await _connect(balancer)
        await _said(reader, writer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read()
        with pytest.raises(ConnectionResetError):
            await _said(reader, writer)
