"""A provider that answers after an hour, and a journal of when each call came and went."""

import asyncio
import sys
from pathlib import Path

from bench.sides.program import main, run_async
from holdfast.testing.provider import ProviderBehaviour, ProviderSimulator

ANSWER_SECONDS = 3_600.0


async def serve(journal: Path, port: int) -> None:
    """Tell the zero of the journal's times, by the clock that all processes share, and serve."""
    behaviour = ProviderBehaviour(first_token_seconds=ANSWER_SECONDS)
    # Taken after the start it is late by as long as that takes: cancels seem to take longer, not less.
    async with ProviderSimulator(behaviour, journal_path=journal, port=port) as simulator:
        zero = asyncio.get_running_loop().time()
        sys.stdout.write(f"{zero} {simulator.base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def measure(*, journal: str, port: int = 0) -> None:
    run_async(serve(Path(journal), port))


if __name__ == "__main__":
    main(measure)
