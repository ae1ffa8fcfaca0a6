from typing import Any

import pytest

from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Split, parse_record
from tests.release.support import LABELS, make_record


def test_record_becomes_frozen_data() -> None:
    record = parse_record(make_record())
    assert record.label_names == LABELS
    assert record.data.train == Split("train", 6000)
    assert record.metrics is not None
    assert record.metrics.top1 == 0.861
    assert record.run.seed == 0


def test_entries_that_may_be_absent() -> None:
    data = {**make_record()["data"], "val": None, "license": None}
    record = parse_record(make_record(metrics=None, data=data))
    assert record.metrics is None
    assert record.data.val is None


def test_unknown_keys_are_passed_over() -> None:
    assert parse_record(make_record(mood="good")) == parse_record(make_record())


@pytest.mark.parametrize("raw", [{**make_record(), "format": 7}, {}, "text", None])
def test_unknown_format(raw: Any) -> None:
    with pytest.raises(UserError, match=r"has format .*; this version of kdna-zoo reads format 1"):
        parse_record(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": None}, "kdna_zoo.arch should be of type str and is None"),
        ({"num_classes": "ten"}, "kdna_zoo.num_classes should be of type int and is 'ten'"),
        ({"num_classes": True}, "kdna_zoo.num_classes should be of type int and is True"),
        ({"metrics": {"top1": 0.5}}, "kdna_zoo.metrics.split should be of type str"),
        ({"data": []}, r"kdna_zoo.data should be of type dict and is \[\]"),
        ({"label_names": ["a"]}, r"should be 3 names, one for each class, and has 1: \['a'\]"),
        ({"label_names": [1, 2, 3]}, "should be 3 names, one for each class"),
        ({"data_config": {"mean": [0], "std": [1]}}, "lacks input_size, interpolation, crop_pct"),
    ],
)
def test_damaged_record_names_the_entry(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_record(make_record(**changes))
