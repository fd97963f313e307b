"""Text that comes in pieces, of which none gets on as long as it could be the begin of a secret."""

from __future__ import annotations

from innkeeper.bridge.secret_placing import Placing


class Withholding:
    """Holds back the end of a text while what follows could make a secret of it."""

    def __init__(self, placing: Placing) -> None:
        """Args:
        placing: knows the secrets.
        """
        self._placing = placing
        self._forms = sorted({form.decode("utf-8", "surrogateescape") for _, form in placing.forms}, key=len)
        self._held = ""

    def feed(self, text: str) -> str:
        """What may get on.

        Raises:
            WebError: a secret stands in the text.
        """
        if not self._forms:
            return text
        text = self._held + text
        self._placing.check_text(text)
        end = min(self._begin(text, form) for form in self._forms)
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """What was held back, now that nothing follows."""
        text, self._held = self._held, ""
        return text

    @staticmethod
    def _begin(text: str, form: str) -> int:
        """Where the end of a text is the begin of a form (int), or its length."""
        at = text.find(form[0], max(0, len(text) - len(form) + 1))
        while at >= 0:
            if form.startswith(text[at:]):
                return at
            at = text.find(form[0], at + 1)
        return len(text)
