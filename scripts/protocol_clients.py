"""Calls of KServe's and Triton's own clients to a server, for measure_protocol.py: prints which of them succeed.

    python scripts/protocol_clients.py http://127.0.0.1:8000 MODEL

It runs in an environment of its own, with `pip install kserve 'tritonclient[http]'`, and without expnet.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from typing import Any

import httpx
import numpy as np
from cloudevents.http import CloudEvent, from_http, to_binary, to_structured
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.http import InferInput as TritonInput

TEXTS = ["A touching, funny film.", "Dull: “naïve” 😀"]
COLUMN = np.array([text.encode() for text in TEXTS], dtype=np.object_)
Call = tuple[str, str, str, Callable[[], Any]]


def main() -> None:
    url, model = sys.argv[1:]
    calls = [*kserve_calls(url, model), *event_calls(url, model), *triton_calls(url, model)]
    rows = [row(*call) for call in calls]
    versions = {name: version(name) for name in ("kserve", "tritonclient", "cloudevents")}
    json.dump({"versions": versions, "calls": rows}, sys.stdout)


def row(client: str, protocol: str, name: str, call: Callable[[], Any]) -> dict[str, Any]:
    """Make a call, which returns whether the answer is what was expected."""
    try:
        passed, why = bool(call()), "another answer than expected"
    except Exception as error:
        passed, why = False, f"{type(error).__name__}: {error}"[:200]
    return {"client": client, "protocol": protocol, "call": name, "passed": passed, "why": "" if passed else why}


def kserve_calls(url: str, model: str) -> Iterator[Call]:
    def ask(protocol: str, call: Callable[[InferenceRESTClient], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
                return await call(client)

        return asyncio.run(run())

    def refused(call: Callable[[], Any], status: int) -> bool:
        try:
            call()
        except httpx.HTTPStatusError as error:
            return error.response.status_code == status and "error" in error.response.json()
        return False

    def request(binary: bool) -> InferRequest:
        column = InferInput("text", [len(TEXTS)], "BYTES")
        column.set_data_from_numpy(COLUMN, binary_data=binary)
        return InferRequest(model, [column], request_id="42")

    def labelled(answer: Any) -> bool:
        outputs = {output.name: output for output in answer.outputs}
        return answer.id == "42" and list(outputs["label"].shape) == [2] and outputs["probabilities"].shape[0] == 2

    texts: dict[str, Any] = {"instances": TEXTS}
    pairs = {"instances": [{"text": text, "pair": text} for text in TEXTS]}
    steps = {"method": "integrated_gradients", "options": {"steps": 5}}
    one = ("kserve", "V1")
    yield *one, "is_server_live", lambda: ask("v1", lambda client: client.is_server_live(url))
    yield *one, "is_model_ready", lambda: ask("v1", lambda client: client.is_model_ready(url, model))
    predict = lambda asked: ask("v1", lambda client: client.infer(url, asked, model_name=model))  # noqa: E731
    explain = lambda asked: ask("v1", lambda client: client.explain(url, model, asked))  # noqa: E731
    yield *one, "infer", lambda: len(predict(texts)["predictions"]) == 2
    yield *one, "infer, instances as objects", lambda: len(predict(pairs)["predictions"]) == 2
    signed = texts | {"signature_name": "serving_default"}
    yield *one, "infer, signature_name", lambda: len(predict(signed)["predictions"]) == 2
    cut = texts | {"parameters": {"truncate": True}}
    yield *one, "infer, parameters", lambda: len(predict(cut)["predictions"]) == 2
    yield *one, "explain", lambda: len(explain(texts)["explanations"]) == 2
    yield *one, "explain, parameters", lambda: len(explain(texts | {"parameters": steps})["explanations"]) == 2
    unknown = lambda: ask("v1", lambda client: client.infer(url, texts, model_name="nobody"))  # noqa: E731
    yield *one, "infer, no such model: 404", lambda: refused(unknown, 404)
    yield *one, "infer, no instances: an error", lambda: refused(lambda: predict({"instances": []}), 422)
    two = ("kserve", "V2")
    yield *two, "is_server_live", lambda: ask("v2", lambda client: client.is_server_live(url))
    yield *two, "is_server_ready", lambda: ask("v2", lambda client: client.is_server_ready(url))
    yield *two, "is_model_ready", lambda: ask("v2", lambda client: client.is_model_ready(url, model))
    absent = lambda: ask("v2", lambda client: client.is_model_ready(url, "nobody"))  # noqa: E731
    yield *two, "is_model_ready, no such model: false", lambda: absent() is False
    infer = lambda binary: ask("v2", lambda client: client.infer(url, request(binary), model_name=model))  # noqa: E731
    yield *two, "infer, tensors as JSON", lambda: labelled(infer(False))
    yield *two, "infer, binary tensors (extension)", lambda: labelled(infer(True))


def event_calls(url: str, model: str) -> Iterator[Call]:
    def sent(form: Callable[[CloudEvent], tuple[Any, bytes]], verb: str) -> bool:
        about = {"type": "review", "source": "shop", "datacontenttype": "application/json"}
        event = CloudEvent(about, {"instances": TEXTS})
        headers, body = form(event)
        answer = httpx.post(f"{url}/v1/models/{model}:{verb}", headers=headers, content=body, timeout=60)
        back = from_http(answer.headers, answer.content)
        return answer.status_code == 200 and len(back.data["predictions"]) == 2 and back["id"] != event["id"]

    for verb in ("predict", "explain"):
        yield "cloudevents", "V1", f"{verb}, structured event", lambda verb=verb: sent(to_structured, verb)
        yield "cloudevents", "V1", f"{verb}, event in headers", lambda verb=verb: sent(to_binary, verb)


def triton_calls(url: str, model: str) -> Iterator[Call]:
    client = InferenceServerClient(url.partition("//")[2])

    def infer(binary: bool, wanted: bool, *, declared: bool = True, later: bool = False) -> bool:
        column = TritonInput("text", [len(TEXTS)], "BYTES")
        column.set_data_from_numpy(COLUMN, binary_data=binary)
        outputs = [InferRequestedOutput(name, binary_data=False) for name in ("label", "probabilities")]
        asked: dict[str, Any] = {"inputs": [column], "outputs": outputs if wanted else None, "request_id": "42"}
        if declared:
            asked["headers"] = {"content-type": "application/json"}
        answer = client.async_infer(model, **asked).get_result() if later else client.infer(model, **asked)
        shares = answer.as_numpy("probabilities")
        return answer.get_response()["id"] == "42" and bool(np.allclose(shares.sum(1), 1, atol=1e-5))

    two = ("tritonclient", "V2")
    yield *two, "is_server_live", client.is_server_live
    yield *two, "is_server_ready", client.is_server_ready
    yield *two, "is_model_ready", lambda: client.is_model_ready(model)
    yield *two, "is_model_ready, no such model: false", lambda: client.is_model_ready("nobody") is False
    yield *two, "get_server_metadata", lambda: client.get_server_metadata()["name"] == "expnet"
    yield *two, "get_model_metadata", lambda: client.get_model_metadata(model)["inputs"][0]["name"] == "text"
    yield *two, "infer, tensors as JSON, outputs named", lambda: infer(False, True)
    yield *two, "infer, tensors as JSON, all outputs", lambda: infer(False, False)
    yield *two, "async_infer", lambda: infer(False, True, later=True)
    yield *two, "infer, tensors as JSON, not declared as JSON", lambda: infer(False, True, declared=False)
    yield *two, "infer, binary tensors (extension)", lambda: infer(True, False, declared=False)
    yield *two, "get_model_config (extension)", lambda: client.get_model_config(model)
    yield *two, "get_model_repository_index (extension)", lambda: client.get_model_repository_index()
    yield *two, "get_inference_statistics (extension)", lambda: client.get_inference_statistics(model)


if __name__ == "__main__":
    main()
