"""The client of an agent: answers by what kind they are."""

import httpx
from polyrouter.host.agent.client import AgentClient

EVENTS = '{"number": 1}\n{"number": 2}\n'


def test_events_are_lines_and_tables_are_values(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/events":
            return httpx.Response(200, text=EVENTS, headers={"content-type": "application/x-ndjson"})
        return httpx.Response(200, json=[{"row": 1}])

    with AgentClient("net", "left") as client:
        client._client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://agent")
        assert client.get("/events") == EVENTS
        assert client.get("/vmac") == [{"row": 1}]
