from __future__ import annotations

from pathlib import Path

import pytest

from palate.data.readers import read_log
from palate.errors import DataError, DataWarning, SettingError

ORDERS = (
    "order,user,sku,price,time\n7,bob,x,2,30\n8,ann,y,1,20\n7,bob,x,3,10\n9,ann,y,1,20\n,ann,y,1,20\n,ann,y,1,20\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "orders.csv"
    path.write_text(text)
    return path


def test_of_an_event_with_an_id_the_first_row_counts(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match=r"orders.csv: 1 rows left out, whose order stands in an earlier row; .*'7'"):
        log = read_log(write(tmp_path, ORDERS), weight="price", event_id="order")
    assert log.event_ids is not None
    found = zip(log.users.names(log.user), log.event_ids, log.weight.tolist(), strict=True)
    assert [*found] == [("bob", "7", 2), ("ann", "8", 1), ("ann", "9", 1), ("ann", None, 1), ("ann", None, 1)]
    assert log.filter(since="1970-01-01").event_ids is None
    assert log.without(["bob"]).event_ids is None


def test_ids_of_bad_rows_are_left_out_with_them(tmp_path: Path) -> None:
    path = write(
        tmp_path, "id,user,item,time\n1,ann,x,20200101\n2,ann,x,20209901\n3,bob,,20200102\n4,bob,y,20200103\n"
    )
    with pytest.warns(DataWarning, match="skipped 2 of 4"):
        log = read_log(path, event_id="id", on_error="skip")
    assert log.event_ids is not None
    assert log.event_ids.to_list() == ["1", "4"]


def test_a_line_of_an_order_has_an_id_of_two_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "order,user,sku\n7,bob,x\n7,bob,y\n8,bob,x\n")
    with pytest.raises(DataError, match=r"order is '7' for user 'bob' and item 'x', .*event_id=order,ITEM"):
        read_log(path, event_id="order")
    log = read_log(path, event_id=["order", "sku"])
    assert log.event_ids is not None
    assert log.event_ids.to_list() == ["7/x", "7/y", "8/x"]


def test_bad_names_of_columns_of_ids_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\nann,x\n")
    with pytest.raises(DataError, match=r"no column 'order' \(event_id=\)"):
        read_log(path, event_id="order")
    with pytest.raises(SettingError, match="event_id"):
        read_log(path, event_id=[])
