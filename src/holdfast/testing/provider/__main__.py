"""`python -m holdfast.testing.provider`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from holdfast.testing.provider.faults import FaultKind, FaultPlan
from holdfast.testing.provider.server import ProviderBehaviour, ProviderSimulator


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the first line of output says where."""
    asked = _parser().parse_args(arguments)
    asyncio.run(_serve(asked))


async def _serve(asked: argparse.Namespace) -> None:
    simulator = ProviderSimulator(
        ProviderBehaviour(
            rpm=asked.rpm,
            tpm=asked.tpm,
            window_seconds=asked.window_seconds,
            first_token_seconds=asked.first_token_seconds,
            tokens_per_second=asked.tokens_per_second,
            time_scale=asked.time_scale,
        ),
        faults=FaultPlan(chances=dict(asked.chance), seed=asked.seed),
        journal_path=asked.journal,
        port=asked.port,
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with simulator:
        sys.stdout.write(f"serving on {simulator.base_url}\n")
        sys.stdout.flush()
        await ended.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.provider")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--rpm", type=float, help="requests per minute")
    parser.add_argument("--tpm", type=float, help="tokens per minute")
    parser.add_argument("--window-seconds", type=float, default=10.0)
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--tokens-per-second", type=float)
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--journal", type=Path, help="file for lines of JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--chance", type=_chance, action="append", default=[], metavar="KIND=PROBABILITY"
    )
    return parser


def _chance(text: str) -> tuple[FaultKind, float]:
    kind, _, probability = text.partition("=")
    return FaultKind(kind), float(probability)


if __name__ == "__main__":
    main()
