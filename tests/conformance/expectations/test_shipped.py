"""The shipped expectations: each has a reason and an issue, and none concerns an adapter of another name."""

from kterm.conformance import check_adapter
from kterm.conformance.expectations import expectation as known

from ...support import miniatures


def test_the_shipped_entries_have_reasons_and_issues() -> None:
    entries = known.read(known.SHIPPED)
    assert entries
    assert all(entry.reason and entry.issue.startswith("https://") for entry in entries)


def test_the_shipped_entries_do_not_concern_other_adapters() -> None:
    class Small(miniatures.Miniature):
        name = "torch-of-ones-own"
        activations = {name: miniatures.Miniature.activations[name] for name in ("tanh", "relu")}  # noqa: RUF012

    results = check_adapter(Small(), dtypes=["f64"])
    assert results.conforms, str(results)
    assert {one.state for one in results.audited} == {"open"}
