"""The command line of ``python -m local``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.app import SURFACES, Options
from local.queue.endpoints import EVERYTHING, Served, read_further
from local.queue.scale import Rule, Scale, read_rule

LOOPBACK = "127.0.0.1"
_DEFAULT_PORT = 8000
_MOST_WORKERS = 64


class Usage(Exception):
    """The arguments are invalid, or do not work on this machine; the message is printed."""


@dataclass(frozen=True)
class Arguments:
    """The configuration from the command line and the environment.

    Attributes:
        options: the configuration of the platform.
        host: the address to listen on.
        port: the port to listen on; 0 = any.
        workers: the number of workers that all endpoints share; 0 if endpoints are scaled.
    """

    options: Options
    host: str
    port: int
    workers: int


def read_arguments() -> Arguments:
    """Read the arguments; ``argparse`` ends the process with status 2 if they are invalid.

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
        state=given.state,
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
        help=f"default: {LOOPBACK}; another one is for a container with a published port",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a further host name by which clients on other machines reach this server; may be "
        "repeated",
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
        help="a further endpoint, for a surface or for one of its models, which another model may "
        "replace; may be repeated",
    )
    parser.add_argument(
        "--no-worker", action="store_true", help="start none, and print how to start one by hand"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep the jobs in this file, from which the next start takes them; default: in memory",
    )
    _add_scaling(parser)
    return parser


def _add_scaling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scaling", "separate workers for each endpoint, as on RunPod")
    group.add_argument(
        "--scale",
        type=_rule,
        metavar="delay:SECONDS|requests:N",
        help="one more worker for each job that waits longer than this, or one for every N jobs",
    )
    group.add_argument(
        "--min-workers",
        type=_number(0, _MOST_WORKERS),
        metavar="N",
        help=f"workers that always run; default: {Scale.min_workers}",
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
        help=f"stop an idle worker after this time; default: {Scale.idle_timeout_s}",
    )


def _rule(text: str) -> Rule:
    try:
        return read_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _scale(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Scale | None:
    """Return how endpoints are scaled; None if they are not."""
    limits = {
        "min_workers": given.min_workers,
        "max_workers": given.max_workers,
        "idle_timeout_s": given.idle_timeout,
    }
    limits = {name: value for name, value in limits.items() if value is not None}
    if given.scale is None:
        if limits:
            parser.error("--min-workers, --max-workers and --idle-timeout go with --scale")
        return None
    if given.workers is not None or given.no_worker:
        parser.error("--scale starts workers itself; --workers and --no-worker go without it")
    scale = Scale(given.scale, **limits)
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
        raise Usage("--surfaces: no surface is named")
    for name in names:
        if name not in SURFACES:
            raise Usage(f"--surfaces: {name!r} is not one of {', '.join(SURFACES)}")
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
