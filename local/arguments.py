"""The command line of ``python -m local``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

from local.app import SURFACES, Options
from local.queue.endpoints import EVERYTHING, Served, read_further
from local.queue.scale import Rule, Scale, read_rule

LOOPBACK = "127.0.0.1"
_DEFAULT_PORT = 8000
_MOST_WORKERS = 64


class Usage(Exception):
    """The arguments or this machine do not allow it; the message is the line to print."""


@dataclass(frozen=True)
class Arguments:
    """What the command line and the environment say.

    Attributes:
        options: how the platform is set up.
        host: the address where it listens.
        port: where it listens; 0 = any.
        workers: how many are started that all endpoints share; none where they are scaled.
    """

    options: Options
    host: str
    port: int
    workers: int


def read_arguments() -> Arguments:
    """Read them; what ``argparse`` refuses ends the process with status 2.

    Raises:
        Usage: an endpoint or a surface cannot be served.
    """
    parser = _parser()
    given = parser.parse_args()
    scale = _scale(parser, given)
    surfaces = _surfaces(given.surfaces)
    options = Options(
        surfaces=surfaces,
        further=_further(given.endpoint, surfaces),
        scale=scale,
        key=os.environ.get("LOCAL_API_KEY", "").strip() or None,
        webhook_secret=os.environ.get("WEBHOOK_SIGNING_SECRET") or Options.webhook_secret,
        names=frozenset(name.lower() for name in given.name),
    )
    none_shared = given.no_worker or scale is not None
    return Arguments(options, given.host, given.port, 0 if none_shared else given.workers or 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="RunPod's queue, the gateway's front door and real workers, on this machine.",
        epilog="LOCAL_API_KEY: the key that clients must bring (any without it). "
        "WEBHOOK_SIGNING_SECRET: signs the gateway's webhooks (local). All other variables go to "
        "the workers.",
    )
    parser.add_argument("--workers", type=_number(1, _MOST_WORKERS), metavar="N", help="default: 1")
    parser.add_argument(
        "--port", type=_number(0, 65535), default=_DEFAULT_PORT, help="default: 8000; 0: any"
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help=f"default: {LOOPBACK}; another one is for a container, whose port is published",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a further host name of this server, which clients of other machines call it by; may "
        "be given again",
    )
    parser.add_argument(
        "--surfaces",
        default=os.environ.get("SURFACE") or EVERYTHING,
        help=f"comma-separated, of {', '.join(SURFACES)}; default: SURFACE, else all",
    )
    parser.add_argument(
        "--endpoint",
        action="append",
        default=[],
        metavar="NAME=SURFACE[:MODEL[~STAND_IN]]",
        help="a further endpoint, for one surface or one model of it, which another may stand in "
        "for; may be given again",
    )
    parser.add_argument(
        "--no-worker", action="store_true", help="start none, and say how to start one by hand"
    )
    _add_scaling(parser)
    return parser


def _add_scaling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scaling", "each endpoint with workers of its own, as RunPod")
    group.add_argument(
        "--scale",
        type=_rule,
        metavar="delay:SECONDS|requests:N",
        help="a worker more for each job that waits longer than this, or one for every N jobs",
    )
    group.add_argument(
        "--min-workers",
        type=_number(0, _MOST_WORKERS),
        metavar="N",
        help=f"that always run; default: {Scale.min_workers}",
    )
    group.add_argument(
        "--max-workers",
        type=_number(1, _MOST_WORKERS),
        metavar="N",
        help=f"default: {Scale.max_workers}",
    )
    group.add_argument(
        "--idle-timeout",
        type=_number(1, 3600),
        metavar="SECONDS",
        help=f"after which a worker that is not needed is stopped; default: {Scale.idle_timeout_s}",
    )


def _rule(text: str) -> Rule:
    try:
        return read_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _scale(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Scale | None:
    """How endpoints are scaled; None where they are not."""
    said = {
        "min_workers": given.min_workers,
        "max_workers": given.max_workers,
        "idle_timeout_s": given.idle_timeout,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if given.scale is None:
        if said:
            parser.error("--min-workers, --max-workers and --idle-timeout go with --scale")
        return None
    if given.workers is not None or given.no_worker:
        parser.error("--scale starts workers itself; --workers and --no-worker go without it")
    scale = Scale(given.scale, **said)
    if scale.min_workers > scale.max_workers:
        parser.error(
            f"--min-workers {scale.min_workers} is more than --max-workers {scale.max_workers}"
        )
    return scale


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least} to {most}")
        return int(text)

    return read


def _surfaces(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if names == (EVERYTHING,):
        return SURFACES
    if not names:
        raise Usage("--surfaces: names none")
    for name in names:
        if name not in SURFACES:
            raise Usage(f"--surfaces: {name!r} is none of {', '.join(SURFACES)}")
    return names


def _further(given: list[str], surfaces: tuple[str, ...]) -> dict[str, Served]:
    further: dict[str, Served] = {}
    for text in given:
        try:
            name, served = read_further(text, surfaces)
        except ValueError as error:
            raise Usage(f"--endpoint: {error}") from None
        if name in further:
            raise Usage(f"--endpoint: {name!r} is given twice")
        further[name] = served
    return further
