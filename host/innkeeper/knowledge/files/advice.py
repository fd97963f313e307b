"""What people who edit JSON by hand most often did wrong, in words."""

from __future__ import annotations


def advice(message: str, text: str, at: int) -> str:
    """What is wrong with a text that is no JSON, and what to do about it (str).

    Args:
        message: of the decoder.
        text: of the file.
        at: where the decoder stopped.
    """
    here = text[at : at + 2]
    before = text[:at].rstrip()[-1:] if at < 1 << 20 else text[at - 1000 : at].rstrip()[-1:]
    if at >= len(text):
        return "it ends too early: a bracket, a brace or a quote is missing"
    if here in ("//", "/*") or here[0] == "#":
        return "JSON has no comments"
    if here[0] in "]}" and before == ",":
        return f"a comma stands before {here[0]!r}: take it away"
    if here[0] in "'‘’“”":
        return 'texts and keys stand in straight double quotes ("...")'
    if message.startswith("Invalid control character"):
        return r"a text goes on over the end of its line: write \n for a line break, or close the quote"
    if message.startswith("Invalid \\escape"):
        return r"a backslash in a text is written \\"
    if message.startswith("Expecting ',' delimiter"):
        return "a comma is missing, or a quote inside of a text has no backslash before it"
    return message[:1].lower() + message[1:]
