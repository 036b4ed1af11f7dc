"""`docs/reference/metrics.md` has every metric with its kind and labels, and no other."""

from prometheus_client import Counter, Gauge, Histogram

from holdfast import metrics
from tests.docs.pages import ROOT, quoted, table

PAGE = ROOT / "docs" / "reference" / "metrics.md"


def test_page_and_code_have_the_same_metrics():
    documented = {
        (quoted(name)[0], kind, tuple(quoted(labels)))
        for section in PAGE.read_text().split("\n## ")
        if "| metric |" in section
        for name, kind, labels, _ in table(section, "metric")
    }
    known = set()
    for each in vars(metrics).values():
        if isinstance(each, (Counter, Gauge, Histogram)):
            name = each._name + ("_total" if isinstance(each, Counter) else "")
            known.add((name, each._type, tuple(each._labelnames)))

    assert documented == known
    assert known
