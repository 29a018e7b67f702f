"""The endpoints for programs: KServe's V1 protocol, health and figures."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response

from expnet.errors import RefusedError
from expnet.explanation.result import Explanation
from expnet.serve import schema
from expnet.serve.metrics import CONTENT_TYPE, Metrics
from expnet.serve.models import Models, find
from expnet.serve.tasks import prediction
from expnet.web.origins import declares_json
from expnet.web.refusals import encode

_WHY = {
    400: "The body is not JSON in UTF-8, or is nested too deep; or a header comes twice.",
    403: "The request comes from a page of another site.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    421: "The request went to a name that this server does not answer to.",
    422: "The request is not what was expected, asks for too much, or has a text on which the model fails.",
    429: "Too many texts are waiting: try again later.",
    500: "The server, or the model, failed.",
    503: "The answer took too long, or the server is shutting down: try again later.",
}


def router(models: Models, metrics: Metrics) -> APIRouter:
    """Return the endpoints for some models."""
    routes = APIRouter()

    @routes.get("/v1/models", summary="List the models")
    async def list_models() -> schema.ModelNames:
        return schema.ModelNames(models=list(models))

    @routes.get(
        "/v1/models/{name:name}", summary="Describe a model", response_model=schema.Model, responses=errors(404)
    )
    async def describe(name: str) -> Response:
        served = find(models, name)
        classifier = served.explainer.classifier
        about = schema.Model(
            name=name,
            ready=served.worker.running,
            classifier=classifier.name,
            explainer=served.explainer.name,
            trust=served.explainer.trust,
            labels=list(classifier.labels),
            kind=classifier.kind,
            multi_label=classifier.multi_label,
            max_length=classifier.max_length,
            methods=[method.name for method in served.methods],
        )
        return await answered_json(about.model_dump())

    asked = errors(400, 403, 404, 408, 413, 415, 421, 422, 429, 500, 503)

    @routes.post(
        "/v1/models/{name:name}:predict",
        summary="Classify texts",
        response_model=schema.Predictions,
        responses=asked,
        dependencies=[Depends(json_only)],
    )
    async def predict(name: str, request: schema.PredictRequest) -> Response:
        return await answered_json({"predictions": await find(models, name).do(request.task(), request.items())})

    @routes.post(
        "/v1/models/{name:name}:explain",
        summary="Explain what made the model decide",
        response_model=schema.Explanations,
        responses=asked,
        dependencies=[Depends(json_only)],
    )
    async def explain(name: str, request: schema.ExplainRequest) -> Response:
        explanations = await find(models, name).do(request.task(), request.items())
        return await answered_json(answer(explanations))

    @routes.get("/healthz", summary="Is the server alive?")
    async def healthz() -> schema.State:
        return schema.State(status="ok")

    @routes.get("/readyz", summary="Is it ready for requests?", responses={503: {"model": schema.State}})
    async def readyz(response: Response) -> schema.State:
        if all(served.worker.running for served in models.values()):
            return schema.State(status="ready")
        response.status_code = 503
        return schema.State(status="not ready")

    @routes.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    return routes


def answer(explained: Sequence[Explanation | list[Explanation]]) -> dict[str, Any]:
    """Return explanations, or lists of them for several classes, and predictions in the format of `:explain`."""
    first = [one if isinstance(one, Explanation) else one[0] for one in explained]
    return {
        "predictions": [prediction(explanation.outputs, explanation.kind) for explanation in first],
        "explanations": [
            one.to_dict() if isinstance(one, Explanation) else [explanation.to_dict() for explanation in one]
            for one in explained
        ],
    }


async def json_only(content_type: Annotated[str, Header(include_in_schema=False)] = "") -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        RefusedError: If it is not (415).
    """
    if not declares_json(content_type):
        raise RefusedError(415, "Expected a body of the content type application/json: set that header.")


async def answered_json(content: dict[str, Any]) -> Response:
    """Return JSON, written in a thread of its own."""
    # Encoding many words takes time; meanwhile others are served.
    return Response(await asyncio.to_thread(encode, content), media_type="application/json")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals, by their status."""
    return {status: {"model": schema.Error, "description": _WHY[status]} for status in statuses}
