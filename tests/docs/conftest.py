"""A home folder whose tables are made once."""

import asyncio
from pathlib import Path

import pytest

from holdfast import App
from holdfast.settings import Settings


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("prepared") / "home"

    async def open_once() -> None:
        async with App(Settings(home=home, store="", artifacts="", provider="scripted")).client():
            pass

    asyncio.run(open_once())
    return home
