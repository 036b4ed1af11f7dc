"""The product line: every product with its job kind, queue, budget and function.

A new product is a file of its own beside these, its prompts, its template, and an entry here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.apps.reports.blueprint import BLUEPRINT
from holdfast.apps.reports.bundle import Bundle, bundle_of
from holdfast.apps.reports.clarity import CLARITY
from holdfast.apps.reports.horoscope import HOROSCOPE
from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.product import Product, with_terms
from holdfast.apps.reports.terms import Terms, load_terms
from holdfast.engine.registry import Registry
from holdfast.errors import ConfigError, UnknownJobKindError

BUNDLE: Final = bundle_of(CLARITY, BLUEPRINT, HOROSCOPE)

PRODUCTS: Final[tuple[Product, ...]] = (CLARITY, BLUEPRINT, HOROSCOPE, BUNDLE)
"""In the order in which they are offered, by price."""


def product_of(kind: str) -> Product | None:
    """Return a product by its kind; None if there is none."""
    return next((product for product in PRODUCTS if product.kind == kind), None)


def parts_of(kind: str, job_id: str) -> dict[str, str]:
    """Return by product which jobs make the reports of a job of this kind.

    Of a bundle that is `part_job_ids`, of any other product the job itself.

    Raises:
        UnknownJobKindError: There is no such product.
    """
    return _known(kind).part_job_ids(job_id)


def part_job_ids(bundle_job_id: str) -> dict[str, str]:
    """Return by product which job makes each part of a bundle; there may be none of them yet."""
    return BUNDLE.part_job_ids(bundle_job_id)


def _known(kind: str) -> Product:
    product = product_of(kind)
    if product is None:
        raise UnknownJobKindError(kind=kind, known=tuple(found.kind for found in PRODUCTS))
    return product


def batches_of_order(
    kind: str, request: ReportRequest, *, terms_file: Path | None = None
) -> tuple[Batch, ...]:
    """Return what will be written for a request, with the options that the configuration adds.

    Raises:
        UnknownJobKindError: There is no such product.
        ConfigError: The terms cannot be used.
    """
    product = _known(kind)
    terms = load_terms(terms_file)
    parts = product.parts if isinstance(product, Bundle) else (product,)
    return tuple(
        batch for part in parts for batch in part.batches(with_terms(request, terms[part.kind]))
    )


def register_products(
    registry: Registry,
    work_dir: Path | None = None,
    *,
    terms: Terms | None = None,
    products: Sequence[Product] = PRODUCTS,
) -> None:
    """Register products as job kinds; see `register_reports`.

    Raises:
        ConfigError: The terms name another product, or none of these.
    """
    folder = (work_dir or _private_folder()).absolute()
    terms = load_terms() if terms is None else terms
    known = {product.kind for product in products}
    if terms.keys() != known:
        odd = ", ".join(map(repr, sorted(terms.keys() ^ known)))
        raise ConfigError(
            f"products and their terms do not agree on {odd}",
            hint=f"give terms to each of {', '.join(sorted(known))}, and to nothing else",
        )
    for product in products:
        found = terms[product.kind]
        registry.add(
            product.kind,
            product.job_function(found, folder),
            queue=product.queue,
            budget=found.budget,
            soft_limit=product.soft_limit,
        )


def _private_folder() -> Path:
    """Return a folder of this user's own among the temporary files."""
    return Path(tempfile.gettempdir()) / f"holdfast-reports-{os.getuid()}"
