"""Documents cut into entries: nothing of the text is lost, sizes hold, what belongs together stays together."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from innkeeper.errors import UsageError
from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Block
from innkeeper.knowledge.documents.cut import Chunk, cut
from innkeeper.knowledge.documents.entries import entries_of
from innkeeper.knowledge.documents.html import read_html
from innkeeper.knowledge.documents.markdown import read_markdown
from innkeeper.knowledge.documents.options import Options
from innkeeper.knowledge.documents.pieces import pieces
from innkeeper.knowledge.documents.plain import read_plain
from innkeeper.knowledge.documents.read import parse
from innkeeper.knowledge.documents.walk import Found
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.tokens.named import counter

try:
    import rs_bpe  # noqa: F401

    TOKENIZERS = ["estimate", "words", "cl100k_base"]
except ImportError:
    TOKENIZERS = ["estimate", "words"]

READERS = {"plain": read_plain, "markdown": read_markdown, "html": read_html}


def chunks(text: str, kind: str = "markdown", **options: Any) -> list[Chunk]:
    chosen = Options(**options)
    return cut(READERS[kind](text).blocks, chosen, counter(chosen.tokenizer))


def texts(text: str, kind: str = "markdown", **options: Any) -> list[str]:
    return [chunk.text for chunk in chunks(text, kind, **options)]


def ink(text: str) -> str:
    """A text without white space."""
    return "".join(text.split())


def is_within(part: str, whole: str) -> bool:
    """Whether all characters of one are in the other, in their order."""
    left: Iterable[str] = iter(whole)
    return all(character in left for character in part)


def sizes(number: int) -> dict[str, int]:
    return {"size": number, "most": 2 * number}


# What belongs together


def test_what_stands_under_one_heading_is_one_entry_with_its_heading() -> None:
    text = "# Guide\n\nFirst.\n\n## Boats\n\nA ferry.\n\nA raft.\n\n## Food\n\nBread.\n"
    found = chunks(text)
    assert [(chunk.path, chunk.text) for chunk in found] == [
        (("Guide",), "# Guide\n\nFirst."),
        (("Guide", "Boats"), "## Boats\n\nA ferry.\n\nA raft."),
        (("Guide", "Food"), "## Food\n\nBread."),
    ]
    assert [chunk.above for chunk in found] == [(), ("Guide",), ("Guide",)]


def test_a_heading_with_nothing_under_it_goes_to_what_comes_next() -> None:
    found = chunks("# A\n\n## B\n\ntext\n\n# End\n")
    assert [(chunk.path, chunk.above, chunk.text) for chunk in found] == [
        (("A", "B"), (), "# A\n\n## B\n\ntext"),
        (("End",), (), "# End"),
    ]


def test_paragraphs_are_put_together_up_to_the_size_and_not_over_it() -> None:
    text = "\n\n".join(f"w{n} " * 10 for n in range(9))
    found = texts(text, "plain", size=35, most=70, tokenizer="words")
    assert [len(each.split()) for each in found] == [30, 30, 30]


@pytest.mark.parametrize(
    "block",
    [
        "| a | b |\n|---|---|\n" + "| x y | z |\n" * 10,
        "```python\n" + "x = 1\n" * 25 + "```",
        "- one two\n" * 25,
    ],
)
def test_a_table_a_listing_and_a_list_stay_whole_where_they_fit(block: str) -> None:
    found = texts(f"Before.\n\n{block}\n\nAfter.", size=40, most=120, tokenizer="words")
    assert any(block.strip() in each for each in found)


def test_a_long_table_repeats_its_head_and_a_long_listing_its_fences() -> None:
    table = "| name | price |\n|---|---|\n" + "".join(f"| thing {n} | {n} |\n" for n in range(60))
    found = texts(table, size=60, most=100, tokenizer="words")
    assert len(found) > 3
    assert all(each.startswith("| name | price |\n|---|---|\n| thing") for each in found)
    listing = "```python\n" + "".join(f"line = {n}\n" for n in range(90)) + "```"
    found = texts(listing, size=60, most=100, tokenizer="words")
    assert len(found) > 3
    assert all(each.startswith("```python\nline") and each.endswith("\n```") for each in found)


def test_a_long_list_comes_apart_at_its_items() -> None:
    text = "".join(f"- item {n} has some words\n  and a second line\n" for n in range(40))
    assert all(each.startswith("- item") for each in texts(text, **sizes(40), tokenizer="words"))


def test_a_long_paragraph_comes_apart_at_sentences_in_chinese_too() -> None:
    sentence = "渡船清晨六点出发，那时雾还贴在水面上，谁也看不见对岸。"
    found = texts(sentence * 30, "plain", **sizes(100))
    assert len(found) > 4
    assert all(each.endswith("。") for each in found)
    english = "The ferry leaves at six, when the fog still lies on the water (as 3.5 miles of it do). "
    assert all(each.rstrip().endswith(").") for each in texts(english * 30, "plain", **sizes(60)))


def test_a_few_words_at_the_end_of_a_section_go_to_what_stands_before_them() -> None:
    text = "word " * 38 + "\n\n" + "word " * 4
    assert len(texts(text, "plain", size=40, most=60, tokenizer="words")) == 1


def test_an_overlap_repeats_the_end_of_what_came_before_within_a_section() -> None:
    text = " ".join(f"Sentence number {n} ends." for n in range(40)) + "\n\n# Next\n\nOther."
    found = texts(text, size=40, most=80, overlap=10, tokenizer="words")
    for before, after in pairwise(found[:-1]):
        assert after.split("\n\n")[0] in before
    assert found[-1] == "# Next\n\nOther."


# Markdown


def test_what_looks_like_a_heading_in_a_listing_is_none() -> None:
    text = "# A\n\n```sh\n# comment\n```\n\n    # code\n\n~~~\n```\n# c\n~~~\n\n"
    text += "<pre>\n# raw\n\n# raw\n</pre>\n\n<!--\n# no\n-->\n"
    assert [chunk.path for chunk in chunks(text)] == [("A",)]


def test_headings_with_a_line_under_them_count_and_marks_are_not_in_titles() -> None:
    text = "Big *one*\n===\n\nx\n\nSmall `two`\nlines\n---\n\ny\n\n### [Three](http://x/y) {#three} ###\n\nz"
    assert [chunk.path for chunk in chunks(text)] == [
        ("Big one",),
        ("Big one", "Small two lines"),
        ("Big one", "Small two lines", "Three"),
    ]


def test_front_matter_becomes_title_tags_and_keywords() -> None:
    parsed = read_markdown(
        "---\ntitle: The Ferry\ntags: [place, river]\nkeywords: ferry, 渡船\ndate: 2024-05-01\ndeep: {a: 1}\n---\nText."
    )
    assert (parsed.title, parsed.tags, parsed.keywords) == ("The Ferry", ["place", "river"], ["ferry", "渡船"])
    assert parsed.metadata == {"date": "2024-05-01", "deep": {"a": 1}}
    assert [block.text for block in parsed.blocks] == ["Text."]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("---\na: &x [1]\nb: *x\n---\nText.", "alias"),
        ("---\na: !!python/object:os.system x\n---\nText.", "no plain data"),
        ("---\na: [\n---\nText.", "not YAML"),
    ],
)
def test_front_matter_that_cannot_be_read_stays_text_and_is_named(text: str, note: str) -> None:
    parsed = read_markdown(text)
    assert note in parsed.notes[0]
    assert ink(text) == ink("".join(block.text for block in parsed.blocks))


def test_rules_at_the_start_are_no_front_matter() -> None:
    for text in ("---\nJust text.\n---\nMore.", "---\n\nText without an end", "--- x\na: 1\n---\n"):
        assert ink("".join(block.text for block in read_markdown(text).blocks)) == ink(text)


def test_of_very_long_front_matter_a_bounded_part_is_kept() -> None:
    tags = ", ".join(f"t{n}" for n in range(200))
    parsed = read_markdown(f"---\ntags: [{tags}]\nlong: {'x' * 5000}\nshort: y\n---\nText.")
    assert len(parsed.tags) == bounds.MOST_TAGS
    assert parsed.metadata == {"short": "y"}
    assert len(parsed.notes) == 2


LINES = [
    "- item",
    "  more",
    "---",
    "1. x",
    "*em*",
    "# a",
    "## b ##",
    "text",
    "more words",
    "",
    "",
    "```",
    "~~~ x",
    "    code",
    "===",
    "> q",
    "***",
    "a | b",
]


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.lists(st.sampled_from(LINES), max_size=14).map("\n".join))
def test_headings_and_listings_are_where_a_parser_of_commonmark_finds_them(text: str) -> None:
    expected = []
    tokens = MarkdownIt("commonmark").parse(text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            expected.append((token.tag, [line.strip() for line in tokens[number + 1].content.split("\n")]))
        elif token.type == "fence" and token.level == 0:
            expected.append(("fence", []))
    found = []
    for block in read_markdown(text).blocks:
        if block.kind == "heading":
            lines = block.text.split("\n")
            said = lines[:-1] if len(lines) > 1 else [lines[0].strip("# ")]
            found.append((f"h{block.level}", [line.strip() for line in said]))
        elif block.kind == "code" and block.text.startswith(("```", "~~~")):
            found.append(("fence", []))
    assert found == expected


# HTML


def test_a_page_becomes_headings_paragraphs_lists_tables_and_listings() -> None:
    page = """<!DOCTYPE html><html><head><title>The &quot;Ferry&quot;</title><style>p{}</style>
      <script>if (a < b) { document.write("<h1>no</h1>") }</script></head><body>
      <h1>Ferry</h1><p>It leaves at <b>six</b>,<br>in the
      fog.</p><ul><li>one<li>two<ol><li>deep</ol></ul><!-- <h1>no</h1> -->
      <table><tr><th>a<th>b|c<tr><td>1<td>2</table><pre><code>x &lt; 1
  y</code></pre><blockquote>said</blockquote><img src=x alt="A boat"><svg><text>no</text></svg></body></html>"""
    parsed = read_html(page)
    assert parsed.title == 'The "Ferry"'
    assert [(block.kind, block.text) for block in parsed.blocks] == [
        ("heading", "# Ferry"),
        ("paragraph", "It leaves at six,\nin the fog."),
        ("list", "- one\n- two\n  1. deep"),
        ("table", "| a | b\\|c |\n| - | - |\n| 1 | 2 |"),
        ("code", "```\nx < 1\n  y\n```"),
        ("quote", "> said"),
        ("paragraph", "[A boat]"),
    ]


def test_a_listing_with_marks_in_it_is_fenced_by_more_of_them() -> None:
    (block,) = read_html("<pre>a\n````\nb</pre>").blocks
    assert block.text == "`````\na\n````\nb\n`````"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("a <b c='>' d=\">\" e=f'>g", "a g"),
        ("<p title=it's>x<p>y's", "x y's"),
        ("x <a href='unclosed", "x <a href='unclosed"),
        ("x<!-- unclosed", "x"),
        ("x<!-->y", "xy"),
        ("x<script>y</SCRIPT >z", "xz"),
        ("x<script>y", "x"),
        ("&#" + "9" * 5000 + ";&#x" + "f" * 5000 + ";", "\ufffd\ufffd"),
        ("&#0;&amp;lt;", "\ufffd&lt;"),
        ("<", "<"),
        ("</>", "</>"),
    ],
)
def test_pages_that_are_broken_are_read_as_far_as_they_go(page: str, said: str) -> None:
    assert " ".join(block.text for block in read_html(page).blocks) == said or [
        block.text for block in read_html(page).blocks
    ] == said.split(" ", 1)


word = st.text("abcdefg龙é", min_size=1, max_size=6)
leaf = st.lists(word, min_size=1, max_size=4)
TAGS = ["p", "div", "h1", "h3", "ul", "li", "table", "tr", "td", "b", "blockquote", "section", "a", "pre"]
trees = st.recursive(leaf, lambda inner: st.tuples(st.sampled_from(TAGS), st.lists(inner, max_size=3)), max_leaves=12)


def written(tree: Any) -> str:
    if isinstance(tree, list):
        return " ".join(tree) + " "
    tag, inner = tree
    return f"<{tag} class='x>y'>{''.join(map(written, inner))}</{tag}>"


def words(tree: Any) -> list[str]:
    return tree if isinstance(tree, list) else [each for inner in tree[1] for each in words(inner)]


@settings(deadline=None)
@given(trees)
def test_every_word_of_a_page_is_in_its_entries(tree: Any) -> None:
    said = "\n".join(texts(written(tree), "html"))
    assert sorted(words(tree)) == sorted(each for each in said.replace("|", " ").split() if each.isalnum())


# Promises


CHARACTERS = st.sampled_from(
    [*"ab. \n龙。,#-|`>1*\t", "\n\n", "# h\n", "- x\n", "```\n", "word ", "é", "😀", "| a | b |\n|-|-|\n"]
)
TEXTS = st.lists(CHARACTERS, max_size=150).map("".join)


@settings(deadline=None)
@given(
    TEXTS,
    st.sampled_from(["plain", "markdown"]),
    st.sampled_from(TOKENIZERS),
    st.sampled_from([(16, 16), (16, 32), (40, 40), (40, 80)]),
    st.booleans(),
)
def test_nothing_is_lost_and_no_entry_is_too_large(
    text: str, kind: str, tokenizer: str, sizes: tuple[int, int], overlapped: bool
) -> None:
    size, most = sizes
    overlap = size // 4 if overlapped else 0
    found = texts(text, kind, size=size, most=most, tokenizer=tokenizer, overlap=overlap)
    tokens = counter(tokenizer)
    assert all(each.strip() and tokens.count(each) <= most for each in found)
    if kind == "plain" and not overlap:
        assert ink("".join(found)) == ink(text)
    else:
        assert is_within(ink(text), ink("".join(found)))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_pieces_whose_sum_is_less_than_the_whole_do_not_make_an_entry_too_large(tokenizer: str) -> None:
    for each in texts('."' * 40, size=16, most=16, tokenizer=tokenizer):
        assert counter(tokenizer).count(each) <= 16


@settings(deadline=None)
@given(TEXTS)
def test_markdown_that_is_not_too_long_is_kept_to_the_letter(text: str) -> None:
    blocks = read_markdown(text).blocks
    assert ink("".join(block.text for block in blocks)) == ink(text)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["paragraph", "list", "table", "code", "quote", "heading"]), st.sampled_from([1, 5, 50]))
def test_pieces_put_together_are_the_text(text: str, kind: Any, most: int) -> None:
    for tokenizer in TOKENIZERS:
        found = pieces(text, kind, most, counter(tokenizer))
        assert "".join(piece for piece, _ in found) == text


@settings(deadline=None)
@given(TEXTS)
def test_ids_are_unique_entries_are_sound_and_reading_again_gives_the_same(text: str) -> None:
    def read() -> list[dict[str, Any]]:
        options = Options(**sizes(16))
        parsed = parse(Found("a/b.md", "markdown", text.encode()))
        return entries_of("a/b.md", parsed, cut(parsed.blocks, options, counter()), options)

    entries = read()
    assert entries == read()
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert read_entry(entry)[1] == []


def test_marks_stay_with_their_letters_where_a_word_must_be_cut() -> None:
    for piece, _ in pieces("e\u0301" * 500, "paragraph", 40, counter()):
        assert not piece.startswith("\u0301")


def test_a_megabyte_of_one_letter_becomes_entries_that_a_base_takes() -> None:
    for tokenizer in TOKENIZERS:
        found = texts("a" * (1 << 20), "plain", tokenizer=tokenizer)
        assert ink("".join(found)) == "a" * (1 << 20)
        assert max(map(len, found)) <= bounds.MOST_ENTRY


def test_a_hundred_thousand_empty_lines_become_nothing() -> None:
    assert texts("\n" * 100_000) == []


HOSTILE = {
    "markdown": ["> ", "- ", "```\n", "|a", "|a|b|\n|-|-|\n", "[", "<div>\n", "# a\n", "1. a\n", " ", "\t", "* ",
                 "a\n-\n", "-\n\n", "- a\n\n", "    a\n\n", "<!--\n",
                 "[a](", "{#", ".", ".\"", ",", "<pre>\n", "~~~\n", "a"],
    "html": ["<", "<a ", "<!--", "<!", "<script>", "<script></", "<?", "&", "</a", '<a b="', "<li>", "<ul>", "<table>",
             "<td>x", "<pre>", "<h1>x", "<br>", "&#9", "<title>x", '<a b="x" c=', '<a b= "', '<img alt="', "<svg>"],
    "plain": [".", "...a", '!"', "龙", "e\u0301", "\u200d", "a\n", "\n \n", " "],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "unit"), [(kind, unit) for kind, units in HOSTILE.items() for unit in units])
def test_eight_times_the_text_takes_about_eight_times_as_long(kind: str, unit: str) -> None:
    def spent(number: int) -> float:
        text = unit * (number // len(unit))
        started = time.thread_time()
        parsed = parse(Found("x", kind, text.encode()))
        entries_of("x", parsed, cut(parsed.blocks, Options(), counter()), Options())
        return time.thread_time() - started

    # Of three, the least: a collection of garbage belongs to whoever comes by.
    small, large = (min(spent(number) for _ in range(3)) for number in (4000, 32_000))
    # Quadratic time would be 64 times as much; what is short is noise.
    assert large < 0.15 or large < 30 * small


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"size": 5}, "must be 16 to 8000"),
        ({"size": 100, "most": 50}, "must be 100"),
        ({"overlap": 200}, "half of the size"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(options: dict[str, int], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        Options(**options).check()


def test_headings_become_keywords_only_where_they_name_one_section_and_are_rare_elsewhere() -> None:
    often = "\n\n".join(f"# S{n}\n\nSome notes on it." for n in range(8))
    text = (
        f"# Marta the ferrywoman\n\nShe rows.\n\n# Notes\n\nx\n\n{often}\n\n# Twice\n\na\n\n# Far\n\nb\n\n# Twice\n\nc"
    )
    parsed = read_markdown(text)
    entries = entries_of("a.md", parsed, cut(parsed.blocks, Options(), counter()), Options())
    keywords = [entry["activation_criteria"]["keywords"] for entry in entries]
    assert keywords[0] == ["Marta the ferrywoman"]
    assert keywords[1] == []
    assert [entry["displayName"] for entry in entries if not entry["activation_criteria"]["keywords"]] == [
        "Notes",
        "Twice",
        "Twice",
    ]


def test_a_block_of_another_parser_may_be_cut_too() -> None:
    assert cut([Block("paragraph", "x")], Options(), counter())[0].path == ()
