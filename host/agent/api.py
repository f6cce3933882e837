"""The agent's HTTP API, on a unix socket."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from ..migration.channel import Place
from ..migration.move import Move, MoveError
from ..spec import NodeSpec
from ..store import LeaseError
from .agent import Agent
from .dataplane import DataPlane
from .metrics import metrics

__all__ = ["make_app"]

#: Captured frames that wait for who reads them; more are lost.
_FRAMES_WAITING = 4096
#: Whether somebody still reads is only seen by writing; seconds until an empty line is written.
_HEARTBEAT = 1.0
#: Seconds between two words of what a move is about.
_NEWS = 0.25


class Departure(BaseModel):
    """A move as its source is told it: where its destination waits, and what the network's store is to have then."""

    move: Move
    place: Place
    values: dict[str, Any] = {}


def make_app(agent: Agent) -> FastAPI:
    """The application of one agent."""
    app = FastAPI(title="polyrouter agent", version="1", docs_url=None, redoc_url=None)

    def plane() -> DataPlane:
        if agent.plane is None:
            raise HTTPException(409, "this node has no specification yet: run 'polyrouter up'")
        return agent.plane

    def number(name: str) -> int:
        return agent.router(name).number

    @app.exception_handler(LookupError)
    def not_found(_: Request, error: LookupError) -> Response:
        return JSONResponse({"detail": str(error.args[0]) if error.args else "not found"}, 404)

    @app.exception_handler(ValueError)
    def refused(_: Request, error: ValueError) -> Response:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(RuntimeError)
    def failed(_: Request, error: RuntimeError) -> Response:
        return JSONResponse({"detail": str(error)}, 500)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return agent.health()

    @app.get("/spec")
    def spec() -> NodeSpec | None:
        return agent.spec

    @app.put("/spec")
    def put_spec(wanted: NodeSpec) -> list[str]:
        return agent.apply(wanted)

    @app.put("/links")
    def put_links(wanted: NodeSpec) -> list[str]:
        """Only routers, circuits, tunnels and VNICs that differ are changed; all of them are named."""
        return agent.apply_links(wanted)

    @app.post("/moves/incoming")
    def expect(move: Move) -> Place:
        """Wait for the source of a move; the answer is where it is to call."""
        plane()
        return agent.moves.expect(move)

    @app.post("/moves/check")
    def check_move(wanted: Departure) -> None:
        """Find out whether a router can move; changes nothing."""
        agent.moves.check(wanted.move, wanted.place)

    @app.post("/moves/outgoing")
    async def send(wanted: Departure) -> StreamingResponse:
        """Move a router away: lines of JSON with what is being done, and the result at the end. Who hangs up does not
        want it any more."""
        gone = threading.Event()
        moving = asyncio.get_running_loop().run_in_executor(
            None, agent.moves.send, wanted.move, wanted.place, wanted.values, gone.is_set)

        async def lines() -> AsyncIterator[str]:
            try:
                while True:
                    try:
                        result = await asyncio.wait_for(asyncio.shield(moving), _NEWS)
                    except TimeoutError:
                        yield json.dumps({"doing": agent.doing}) + "\n"
                        continue
                    yield json.dumps({"result": result.model_dump()}) + "\n"
                    return
            except (MoveError, LeaseError) as error:
                yield json.dumps({"error": str(error)}) + "\n"
            except Exception as error:
                yield json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n"
            finally:
                gone.set()

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/links")
    def links() -> dict[str, Any]:
        return {"circuits": plane().circuits(), "terminations": plane().terminations(), "drops": plane().link_drops()}

    @app.get("/tunnels")
    def tunnels() -> dict[str, Any]:
        return {"tunnels": plane().tunnels(), "problems": plane().tunnel_problems()}

    @app.get("/vnics")
    def vnics() -> list[dict[str, Any]]:
        return agent.vnics()

    @app.get("/routers")
    def routers() -> list[dict[str, Any]]:
        return agent.routers()

    @app.get("/counters")
    def counters(router: str | None = None) -> list[dict[str, Any]]:
        return plane().counters(None if router is None else number(router))

    @app.get("/fib/{router}")
    def fib(router: str) -> list[dict[str, Any]]:
        return plane().fib(router)

    @app.get("/adjacency/{router}")
    def adjacency(router: str) -> list[dict[str, Any]]:
        return plane().adjacency(router)

    @app.get("/mroutes/{router}")
    def mroutes(router: str) -> list[dict[str, Any]]:
        return plane().mroutes(router)

    @app.get("/vmac")
    def vmac() -> list[dict[str, Any]]:
        return plane().vmac()

    @app.get("/context")
    def context() -> list[dict[str, Any]]:
        return plane().context()

    @app.get("/queues")
    def queues() -> list[dict[str, Any]]:
        return plane().queues()

    @app.get("/filters/{router}")
    def filters(router: str) -> list[dict[str, Any]]:
        return plane().filters(router)

    @app.get("/rates")
    def rates() -> list[dict[str, Any]]:
        return plane().rates()

    @app.get("/macs/{router}")
    def macs(router: str) -> list[dict[str, Any]]:
        return plane().macs(router)

    @app.get("/capture/{router}")
    async def capture(router: str) -> StreamingResponse:
        """Copies of a router's frames, for as long as somebody reads: a line of JSON each, after an empty one."""
        number(router)
        data_plane, loop = plane(), asyncio.get_running_loop()
        frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_FRAMES_WAITING)

        def take(port: int, frame: bytes) -> None:
            row = {"time": time.time(), "port": port, "frame": frame.hex()}
            loop.call_soon_threadsafe(lambda: None if frames.full() else frames.put_nowait(row))

        async def lines() -> AsyncIterator[str]:
            end = await run_in_threadpool(data_plane.capture, router, take)
            try:
                yield "\n"
                while True:
                    try:
                        yield json.dumps(await asyncio.wait_for(frames.get(), _HEARTBEAT)) + "\n"
                    except TimeoutError:
                        yield "\n"
            finally:
                # However it ended, and this may be a cancelled task, which can't wait.
                threading.Thread(target=end, name="end of capture").start()

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/exec/{router}")
    def exec_command(router: str, request: Request) -> list[str]:
        arguments = request.query_params.getlist("argument")
        return agent.exec_command(router, arguments, tty=request.query_params.get("tty") == "true")

    @app.get("/logs/{router}")
    def logs(router: str, lines: int | None = None) -> PlainTextResponse:
        return PlainTextResponse(agent.logs(router, lines))

    @app.get("/events")
    def events(since: int = 0, follow: bool = False) -> StreamingResponse:
        def lines() -> Iterator[str]:
            for event in agent.events.follow(since) if follow else agent.events.since(since):
                yield "\n" if event is None else json.dumps(event) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/metrics")
    def prometheus() -> PlainTextResponse:
        return PlainTextResponse(metrics(agent), media_type="text/plain; version=0.0.4")

    return app
