"""The document: OpenAPI 3.1.1, whose schemas are JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from handler.contract.base import Operation, Surface
from handler.errors import statuses
from handler.openapi.answers.shape import ErrorResponse, ModelDetail, ModelList
from handler.openapi.requests import PREFIX, Schema, form, schemas
from handler.openapi.routes import Described, described
from models.row import Row

VERSION = "0.1.0"  # of the project

_ABOUT = (
    "One worker that answers OpenAI's routes from warm models. A field is honoured, or named in an "
    "error or in `warnings`; null and what is empty count as left out. Every route takes a form as "
    "well as JSON. Names of fields that other APIs have are understood."
)
_KEY = (
    "RunPod's API key, which its load balancer asks for. A worker that is reached directly asks "
    "for none."
)


def document(
    surfaces: Mapping[str, Surface], models: Mapping[str, Sequence[Row]], limit_bytes: int
) -> dict[str, Any]:
    """Describe the interface of a worker.

    Args:
        surfaces: those that it serves.
        models: those that each surface holds, its default first.
        limit_bytes: the largest body.
    """
    operations = list(_operations(surfaces))
    shapes = {
        shape
        for _, route, _ in operations
        for known in (described(route),)
        for shape in (*known.answers, *((known.event,) if known.event else ()))
    }
    answers = [
        ErrorResponse,
        ModelList,
        ModelDetail,
        *sorted(shapes, key=lambda shape: shape.__name__),
    ]
    components = schemas([operation.request for _, _, operation in operations], answers)
    paths: dict[str, Any] = {}
    for surface, route, operation in operations:
        paths[route] = {"post": _post(surface, route, operation, components, models[surface])}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Quartet",
            "version": VERSION,
            "description": f"{_ABOUT} A body may have {limit_bytes:,} bytes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This worker."}],
        "security": [{"bearer": []}, {}],
        "tags": [{"name": name} for name in (*surfaces, "worker")],
        "paths": {**paths, **_own_paths()},
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {f"Error{status}": one for status, one in _errors().items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _KEY}
            },
        },
    }


def _operations(surfaces: Mapping[str, Surface]) -> Iterator[tuple[str, str, Operation]]:
    """Every route that is answered, with its surface and operation."""
    for name, surface in surfaces.items():
        for operation in surface.operations:
            if operation.refused is None:
                for route in operation.routes:
                    yield name, route, operation


def _post(
    surface: str, route: str, operation: Operation, components: Schema, models: Sequence[Row]
) -> dict[str, Any]:
    known, kind = described(route), operation.request.__name__
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": PREFIX + kind}}}
    if known.example:
        content["application/json"]["example"] = dict(known.example)
    if known.files:
        name = f"{kind.removesuffix('Request')}Form"
        components[name] = form(kind, components[kind], known.files)
        content["multipart/form-data"] = {"schema": {"$ref": PREFIX + name}}
    return {
        "operationId": known.name,
        "summary": known.summary,
        "description": _description(operation, models),
        "tags": [surface],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _answer(known), **_error_references()},
    }


def _description(operation: Operation, models: Sequence[Row]) -> str:
    """What the schemas do not say: the models, and the fields that are refused."""
    able = [
        model.slug for model in models if operation.task is None or operation.task in model.tasks
    ]
    lines = [f"Models: {', '.join(f'`{slug}`' for slug in able) or 'none here'}."]
    if refused := sorted(operation.request.unsupported):
        lines.append(
            f"Refused by name, unless the value changes nothing: "
            f"{', '.join(f'`{slug}`' for slug in refused)}."
        )
    return "\n\n".join(lines)


def _answer(known: Described) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if known.answers or not known.binary:
        content["application/json"] = {"schema": _any_of(known.answers)}
    if known.text is not None:
        content["text/plain"] = {"schema": {"type": "string", "description": known.text}}
    if known.event is not None:
        name = known.event.__name__
        content["text/event-stream"] = {
            "schema": {
                "type": "string",
                "description": f"With `stream: true`: server-sent events, whose data is a {name}.",
                "contentMediaType": "text/event-stream",
            },
            "x-event": {"$ref": PREFIX + name},
        }
    for kind in known.binary:
        content[kind] = {}
    return {"description": "The answer.", "headers": _REQUEST_ID, "content": content}


_REQUEST_ID = {
    "x-request-id": {"description": "As in the worker's log.", "schema": {"type": "string"}}
}


def _any_of(shapes: Sequence[type[BaseModel]]) -> Schema:
    references = [{"$ref": PREFIX + shape.__name__} for shape in shapes]
    if not references:
        return {"type": "object"}
    return references[0] if len(references) == 1 else {"anyOf": references}


def _errors() -> dict[int, dict[str, Any]]:
    """The answers of each status that an error may have."""
    content = {"application/json": {"schema": {"$ref": PREFIX + ErrorResponse.__name__}}}
    said = {400: "The request cannot be served as it is.", 500: "The worker failed."}
    return {
        status: {
            "description": said.get(status) or f"{', '.join(f'`{code}`' for code in codes)}.",
            "content": content,
        }
        for status, codes in statuses().items()
    }


def _error_references() -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses()}


def _own_paths() -> dict[str, Any]:
    """The routes of the worker itself."""
    slug = {
        "name": "model",
        "in": "path",
        "required": True,
        "description": "A slug, or a repository (whose slash stays as it is).",
        "schema": {"type": "string"},
    }
    missing = {"404": {"$ref": "#/components/responses/Error404"}}
    models = _get("listModels", "The models that are held here.", ModelList)
    detail = _get("retrieveModel", "A model, and the fields that it honours.", ModelDetail)
    detail["responses"] |= missing
    text = {"schema": {"type": "string"}}
    return {
        "/v1/models": {"get": models},
        "/v1/models/{model}": {"get": {**detail, "parameters": [slug]}},
        "/ping": {
            "get": {
                "operationId": "ping",
                "summary": "The load balancer's health check.",
                "tags": ["worker"],
                "responses": {
                    "200": {"description": "Ready."},
                    "204": {"description": "The model is being loaded."},
                    "503": {"description": "Broken: the worker is to be replaced."},
                },
            }
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Prometheus' text format.",
                "tags": ["worker"],
                "responses": {"200": {"description": "Metrics.", "content": {"text/plain": text}}},
            }
        },
    }


def _get(name: str, summary: str, shape: type[BaseModel]) -> dict[str, Any]:
    content = {"application/json": {"schema": _any_of([shape])}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["worker"],
        "responses": {"200": {"description": "The answer.", "content": content}},
    }
