import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.wiring.secrets import secrets_of

LONG, OTHER = "x" * 32, "y" * 40


def test_secret_is_made_once_and_kept_for_this_user_alone(tmp_path: Path):
    settings = Settings(home=tmp_path)

    [made] = secrets_of(settings)

    assert secrets_of(settings) == (made,)
    assert len(made) > 50
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["secret"]


def test_processes_that_start_at_once_agree_on_one(tmp_path: Path, monkeypatch):
    """Each believes that it is the first; the link decides."""
    settings = Settings(home=tmp_path)
    pids = iter(range(100))
    monkeypatch.setattr("holdfast.wiring.secrets.os.getpid", lambda: next(pids))

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: secrets_of(settings), range(32)))

    assert len(made) == 1


def test_secrets_of_the_settings_are_taken_in_their_order(tmp_path: Path):
    settings = Settings(home=tmp_path, secret=f"{LONG}, {OTHER}")

    assert secrets_of(settings) == (LONG, OTHER)
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize("secret", ["short", f"{LONG},short", " , "])
def test_short_secrets_are_refused_without_being_shown(secret, tmp_path: Path):
    with pytest.raises(ConfigError, match="32 characters") as caught:
        secrets_of(Settings(home=tmp_path, secret=secret))

    assert LONG not in str(caught.value)


def test_secret_must_be_set_where_there_is_no_home():
    settings = Settings(store="postgresql://db/x", artifacts="s3://bucket")

    with pytest.raises(ConfigError, match="HOLDFAST_SECRET"):
        secrets_of(settings)
