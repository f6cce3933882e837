"""The agent's HTTP API, on a unix socket."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from ..spec import NodeSpec
from .agent import Agent
from .dataplane import DataPlane
from .metrics import metrics

__all__ = ["make_app"]


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

    @app.get("/vmac")
    def vmac() -> list[dict[str, Any]]:
        return plane().vmac()

    @app.get("/context")
    def context() -> list[dict[str, Any]]:
        return plane().context()

    @app.get("/queues")
    def queues() -> list[dict[str, Any]]:
        return plane().queues()

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
