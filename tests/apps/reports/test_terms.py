"""Prices, models, batch sizes, pacing and budgets: shipped, changed by a file, checked at start."""

from decimal import Decimal
from pathlib import Path

import pytest

from holdfast import codec
from holdfast.apps.reports.clarity import CLARITY
from holdfast.apps.reports.jobs import PRODUCTS, register_products
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.product import PrintedProduct, Product
from holdfast.apps.reports.terms import ProductTerms, load_terms, models_of
from holdfast.engine.registry import Registry
from holdfast.errors import ConfigError
from holdfast.llm import LLM, LLMConfig, LocalLanes, ModelConfig
from holdfast.llm.config import FREE
from holdfast.settings import Settings
from holdfast.store.base import LaneGrant, LaneRequest
from holdfast.wiring import default_app, open_llm
from tests.apps.reports.conftest import report_request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports.toml"


def test_every_product_is_shipped_with_its_price():
    terms = load_terms()

    assert {kind: str(found.price_usd) for kind, found in terms.items()} == {
        "life_clarity": "19.99",
        "personal_blueprint": "39.99",
        "personal_horoscope": "59.99",
        "bundle": "99.99",
    }
    assert terms.keys() == {product.kind for product in PRODUCTS}


def test_file_changes_what_it_names_and_nothing_else(file):
    file.write_text(
        '[personal_blueprint]\nprice_usd = "29.00"\n'
        '[personal_blueprint.writing]\nsections_per_round = 3\nmodel = "gpt-large"\n'
    )

    terms = load_terms(file)

    found = terms["personal_blueprint"]
    assert (found.price_usd, found.budget_tokens) == (Decimal("29.00"), 1_500_000)
    assert (found.writing.sections_per_round, found.writing.sections_per_batch) == (3, 1)
    assert terms["bundle"] == load_terms()["bundle"]
    assert models_of(terms) == ("gpt-large",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[personal_blueprint]\nprice_usd = -1", "price_usd"),
        ("[personal_blueprint.writing]\nsections_per_round = 0", "sections_per_round"),
        ("[personal_blueprint.writing]\nround_size = 5", "round_size"),
        ("[personal_blueprint]\nbudget_tokens = 0", "budget_tokens"),
        ("not TOML", "cannot be used"),
    ],
)
def test_what_is_no_term_is_refused_by_name(file, text, told):
    file.write_text(text)

    with pytest.raises(ConfigError, match=told):
        load_terms(file)


def test_missing_file_is_refused(file):
    with pytest.raises(ConfigError, match="No such file"):
        load_terms(file)


def test_unknown_product_is_refused_at_start(file):
    file.write_text('[love_letter]\nprice_usd = "1.00"\n')

    with pytest.raises(ConfigError, match="love_letter"):
        default_app(Settings(provider="scripted", reports=file))


def test_application_knows_budgets_and_models_of_the_file(file):
    file.write_text('[bundle]\nbudget_tokens = 77\n[life_clarity.writing]\nmodel = "gpt-small"\n')

    app = default_app(Settings(provider="scripted", reports=file))

    assert app.registry.get("bundle").budget.tokens == 77
    assert app.models == ("gpt-small",)


async def test_model_that_a_product_names_can_be_called(harness):
    settings = Settings(provider="scripted")

    async with open_llm(settings, harness.store, harness.clock, None, models=("gpt-small",)) as llm:
        assert await llm.complete("hi", model="gpt-small")
        with pytest.raises(ConfigError, match="gpt-large"):
            await llm.complete("hi", model="gpt-large")


def test_request_wins_over_the_configuration_where_it_says_something():
    configured = WritingOptions(concurrency=7, days_per_batch=2)

    found = WritingOptions(days_per_batch=5).over(configured)

    assert (found.days_per_batch, found.concurrency, found.days) == (5, 7, 365)


def test_stored_request_remembers_what_was_said_and_what_was_not():
    text, _ = codec.encode_value(report_request(days=3), ReportRequest, what="request")

    back = codec.decode_value(text, ReportRequest, None, what="request")

    assert b"concurrency" not in text
    assert back.options.over(WritingOptions(concurrency=7)).concurrency == 7


class Weighed(LocalLanes):
    """Lanes that remember how much of them was asked for."""

    weights: list[float]

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        self.weights.append(request.weight)
        return await super().take_lane(request)


@pytest.mark.parametrize(("kind", "weight"), [("life_clarity", 8.0), ("personal_blueprint", 1.0)])
async def test_life_clarity_gets_more_of_the_limits_than_what_takes_longer(
    harness, desk, quick_print, kind, weight
):
    lanes = Weighed(harness.clock)
    lanes.weights = []
    model = ModelConfig(model="scripted", provider="scripted", price=FREE)
    harness.services.resources[LLM] = LLM(
        LLMConfig.single(model), {"scripted": desk}, lanes=lanes, ledger=harness.store
    )
    await harness.start_worker()

    request = report_request(days=1, answers_per_period=1, sections_per_batch=12)
    await harness.client.wait(await harness.submit(kind, request))

    assert set(lanes.weights) == {weight}


async def test_change_of_configuration_changes_no_job_that_has_begun(
    harness, desk, quick_print, tmp_path
):
    """The job is retried by a release that would cut other batches: it asks for the missing one only."""
    desk.errors["section_05-08"] = [ValueError("bad luck")]
    first = dict(load_terms())
    first["personal_blueprint"] = ProductTerms(
        price_usd=Decimal(1), writing=WritingOptions(sections_per_batch=4)
    )
    harness.registry._kinds.clear()
    register_products(harness.registry, tmp_path / "work", terms=first)
    await harness.start_worker()
    job_id = await harness.submit("personal_blueprint", report_request())
    await harness.client.wait(job_id)
    before = len(desk.batches)

    harness.registry._kinds.clear()
    register_products(harness.registry, tmp_path / "work")
    await harness.client.retry(job_id)
    job = await harness.client.wait(job_id)

    assert job.status == "completed"
    assert "section_05-08" in desk.batches[before:]
    assert all("-" in batch for batch in desk.batches)


async def test_fifth_product_is_an_entry_of_its_own(harness, quick_print, tmp_path):
    """Nothing but the entry: manifest, composition, terms; here those of Life Clarity."""
    fifth: Product = PrintedProduct(
        kind="love_letter",
        title="Love Letter",
        file_name="love-letter.pdf",
        manifest=CLARITY.manifest,
        compose=CLARITY.compose,
    )
    registry: Registry = harness.registry
    registry._kinds.clear()
    register_products(
        registry,
        tmp_path / "work",
        terms={"love_letter": ProductTerms(price_usd=Decimal("9.99"), budget_tokens=100_000)},
        products=[fifth],
    )
    await harness.start_worker()

    result = harness.client.output_of(
        await harness.client.wait(await harness.submit("love_letter", report_request()))
    )

    assert registry.get("love_letter").queue == "reports.love_letter"
    assert (result.artifact, result.answers) == ("love-letter.pdf", 24)
