"""A client that has what it asks for is told so, and never by mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.server.cache.etags import conditional, etag_of, etag_of_file, http_date, is_known, is_named

TAG = etag_of(b"a picture")
WRITTEN = 1_700_000_000_900_000_000


@pytest.mark.parametrize(
    "header", [TAG, f"W/{TAG}", f'"other", {TAG}', f'"a,b",{TAG}', "*", f'W/"x",W/{TAG} , "y"', f" {TAG} "]
)
def test_a_list_that_names_the_tag_is_understood(header: str) -> None:
    assert is_named(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"other"', TAG.strip('"'), TAG[:-1], '"', "**", ',"",,', "W/"])
def test_nothing_else_is(header: str | None) -> None:
    assert not is_named(header, TAG)


@given(st.text(alphabet='W/"*,ab \t\\', max_size=40))
def test_any_header_is_read_without_an_error_and_names_what_it_quotes(header: str) -> None:
    assert is_named(header, '"ab"') == (header.strip() == "*" or _named_by_a_plain_reader(header, '"ab"'))


def _named_by_a_plain_reader(header: str, tag: str) -> bool:
    found, at = [], 0
    header = header.strip()
    while (start := header.find('"', at)) != -1:
        end = start + 1
        while end < len(header) and header[end] != '"' and header[end] not in " \t":
            end += 1
        if end < len(header) and header[end] == '"':
            found.append(header[start : end + 1])
            at = end + 1
        else:
            at = start + 1
    return tag in found


def test_a_tag_counts_more_than_a_date() -> None:
    same_second = {"if-modified-since": http_date(WRITTEN)}
    assert is_known(same_second, TAG, WRITTEN)
    assert not is_known({**same_second, "if-none-match": '"other"'}, TAG, WRITTEN)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 01 Jan 99999 00:00:00 GMT", "x" * 5000, "-1", "\0"])
def test_a_date_that_is_none_is_no_date(date: str) -> None:
    assert not is_known({"if-modified-since": date}, TAG, WRITTEN)


def test_another_file_has_another_tag_even_within_one_tick_of_the_clock() -> None:
    assert etag_of_file(WRITTEN, 10, 1) != etag_of_file(WRITTEN, 10, 2)


def test_an_answer_without_its_body_has_the_headers_of_the_whole_one() -> None:
    whole = conditional({}, b"a picture", TAG, media_type="image/png", modified=WRITTEN)
    short = conditional({"if-none-match": TAG}, b"a picture", TAG, media_type="image/png", modified=WRITTEN)
    assert (whole.status_code, bytes(whole.body)) == (200, b"a picture")
    assert (short.status_code, bytes(short.body)) == (304, b"")
    for name in ("etag", "last-modified", "cache-control", "vary", "x-content-type-options"):
        assert whole.headers[name] == short.headers[name]
    assert whole.headers["x-content-type-options"] == "nosniff"
    # What belongs to somebody must not stay in a cache that others share.
    assert "private" in whole.headers["cache-control"]
