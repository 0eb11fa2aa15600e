"""A hub of models, played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

COMMIT = "c3" * 20


def hub(
    folder: Path, commit: str, refuse: str | None = None, asked: list[str] | None = None
) -> web.Application:
    """As much of the hub's protocol as a description and a download use."""

    def error(code: str, status: int) -> web.Response:
        return web.json_response({}, status=status, headers={"X-Error-Code": code})

    async def info(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append(request.match_info.get("revision", "main"))
        if request.match_info.get("revision", "main") not in ("main", "v2", commit):
            return error("RevisionNotFound", 404)
        if refuse == "RepoNotFound":
            return error(refuse, 404)
        files = [
            {"rfilename": one.name, "size": one.stat().st_size}
            for one in sorted(folder.iterdir()) if one.is_file()
        ]  # fmt: skip
        body = {"id": "Me/Mine", "sha": commit, "siblings": files, "tags": ["license:mit"]}
        return web.json_response({**body, "gated": "manual" if refuse == "GatedRepo" else False})

    async def tree(request: web.Request) -> web.Response:
        return web.json_response([
            {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0" * 40}
            for one in sorted(folder.iterdir()) if one.is_file()
        ])  # fmt: skip

    async def file(request: web.Request) -> web.Response:
        if refuse == "GatedRepo":
            return error(refuse, 401)
        if asked is not None and request.method == "GET":
            asked.append(request.match_info["name"])
        content = (folder / request.match_info["name"]).read_bytes()
        headers = {"ETag": f'"{hash(content):x}"', "X-Repo-Commit": commit}
        return _part(request, content, headers)

    application = web.Application()
    application.router.add_get("/api/models/Me/Mine", info)
    application.router.add_get("/api/models/Me/Mine/revision/{revision}", info)
    application.router.add_get("/api/models/Me/Mine/tree/{revision}", tree)
    application.router.add_get("/Me/Mine/resolve/{revision}/{name:.+}", file)
    return application


def hub_of(repositories: Mapping[str, Path], commits: Mapping[str, str]) -> web.Application:
    """A hub of several repositories, whose files may lie in folders, for downloads.

    Args:
        repositories: each one's files.
        commits: each one's only commit.
    """

    def files(request: web.Request) -> list[tuple[str, int]]:
        root = repositories[name_of(request)]
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return [(path.relative_to(root).as_posix(), path.stat().st_size) for path in paths]

    def name_of(request: web.Request) -> str:
        return f"{request.match_info['owner']}/{request.match_info['name']}"

    async def info(request: web.Request) -> web.Response:
        name = name_of(request)
        if request.match_info["revision"] != commits[name]:
            return web.json_response({}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path, "size": size} for path, size in files(request)]
        return web.json_response({"id": name, "sha": commits[name], "siblings": siblings})

    async def tree(request: web.Request) -> web.Response:
        return web.json_response([
            {"type": "file", "path": path, "size": size, "oid": "0" * 40}
            for path, size in files(request)
        ])  # fmt: skip

    async def file(request: web.Request) -> web.Response:
        name = name_of(request)
        content = (repositories[name] / request.match_info["path"]).read_bytes()
        headers = {"ETag": f'"{hash(content):x}"', "X-Repo-Commit": commits[name]}
        return web.Response(body=content, headers=headers)

    application = web.Application()
    application.router.add_get("/api/models/{owner}/{name}/revision/{revision}", info)
    application.router.add_get("/api/models/{owner}/{name}/tree/{revision}", tree)
    application.router.add_get("/{owner}/{name}/resolve/{revision}/{path:.+}", file)
    return application


def _part(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    part = request.http_range
    if part.start is None or part.stop is None:
        return web.Response(body=content, headers=headers)
    return web.Response(status=206, body=content[part.start : part.stop], headers=headers)
