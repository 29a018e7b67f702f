"""The Open Inference Protocol (KServe's V2): health, metadata and inference; explaining in the same form is ours."""

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from expnet._version import __version__
from expnet.serve import tensors
from expnet.serve.models import Models, find
from expnet.serve.v1 import answered_json, errors, json_only


class ServerMetadata(BaseModel):
    """What answers."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """What a model reads and answers."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    platform: str
    inputs: list[tensors.TensorKind]
    outputs: list[tensors.TensorKind]


class ServerLive(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether all models take requests."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model takes requests."""

    name: str
    ready: bool


def router(models: Models) -> APIRouter:
    """Return the endpoints for some models."""
    routes = APIRouter()
    _describe(routes, models)
    asked = errors(400, 403, 404, 408, 413, 415, 421, 422, 429, 500, 503)

    @routes.post(
        "/v2/models/{name:name}/infer",
        summary="Classify texts, as tensors",
        response_model=tensors.InferResponse,
        responses=asked,
        dependencies=[Depends(json_only)],
    )
    async def infer(name: str, request: tensors.InferRequest) -> Response:
        served = find(models, name)
        request.check_model(name)
        classifier, task = served.explainer.classifier, request.task()
        offered = tensors.outputs(classifier.labels, classifier.kind)
        wanted = request.wanted([output.name for output in offered])
        predictions = await served.do(task, request.items())
        outputs = tensors.predicted(classifier.labels, classifier.kind, predictions)
        return await answered_json(request.answer(name, wanted, outputs))

    @routes.post(
        "/v2/models/{name:name}/explain",
        summary="Explain what made the model decide, as tensors",
        response_model=tensors.InferResponse,
        responses=asked,
        dependencies=[Depends(json_only)],
    )
    async def explain(name: str, request: tensors.ExplainTensors) -> Response:
        served = find(models, name)
        request.check_model(name)
        task, wanted = request.task(), request.wanted(tensors.EXPLAINED)
        explanations = await served.do(task, request.items())
        return await answered_json(request.answer(name, wanted, tensors.explained(explanations)))

    return routes


def _describe(routes: APIRouter, models: Models) -> None:
    """Add health and metadata."""

    @routes.get("/v2", summary="Describe the server")
    async def server() -> ServerMetadata:
        return ServerMetadata(name="expnet", version=__version__, extensions=["explain"])

    @routes.get("/v2/health/live", summary="Is the server alive?")
    async def live() -> ServerLive:
        return ServerLive(live=True)

    @routes.get("/v2/health/ready", summary="Are all models ready?", responses={503: {"model": ServerReady}})
    async def ready(response: Response) -> ServerReady:
        running = all(served.worker.running for served in models.values())
        response.status_code = 200 if running else 503
        return ServerReady(ready=running)

    @routes.get("/v2/models/{name:name}", summary="Describe a model's tensors", responses=errors(404))
    async def describe(name: str) -> ModelMetadata:
        classifier = find(models, name).explainer.classifier
        outputs = tensors.outputs(classifier.labels, classifier.kind)
        return ModelMetadata(name=name, platform="pytorch", inputs=tensors.inputs(), outputs=outputs)

    @routes.get(
        "/v2/models/{name:name}/ready",
        summary="Is a model ready?",
        responses={**errors(404), 503: {"model": ModelReady}},
    )
    async def model_ready(name: str, response: Response) -> ModelReady:
        running = find(models, name).worker.running
        response.status_code = 200 if running else 503
        return ModelReady(name=name, ready=running)
