"""What goes wrong, as an answer: always `{"error": SENTENCE, "details": ...}`, as ComfyTavern's clients know it."""

from __future__ import annotations

import logging
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from innkeeper.errors import InnkeeperError, Kind
from innkeeper.server.files.problems import FileError

logger = logging.getLogger("innkeeper.server")

STATUS_OF: Final = {
    Kind.GUEST: 502,
    Kind.USAGE: 400,
    Kind.REJECTED: 422,
    Kind.LIMIT: 413,
    Kind.DENIED: 403,
    Kind.CANCELLED: 409,
    Kind.BUSY: 503,
    Kind.INTERNAL: 500,
}
"""The status of an answer, by the kind of the error that no route knows better."""

_PROBLEMS: Final = 20


class AnswerError(Exception):
    """Ends a request with a status and a sentence.

    Args:
        status: of HTTP.
        error: the sentence; it is shown to whoever asks.
        details: plain data beside it, or None.
        headers: further headers.
    """

    def __init__(self, status: int, error: str, details: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.details = details
        self.headers = headers


def answer(status: int, error: str, details: Any = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says what went wrong."""
    body = {"error": error} if details is None else {"error": error, "details": details}
    return JSONResponse(body, status, headers)


def add_handlers(app: FastAPI) -> None:
    """Makes every error of an app such an answer."""

    @app.exception_handler(AnswerError)
    async def _answer(request: Request, error: AnswerError) -> JSONResponse:
        return answer(error.status, error.error, error.details, error.headers)

    @app.exception_handler(FileError)
    async def _file(request: Request, error: FileError) -> JSONResponse:
        return answer(error.status, error.message, error.details)

    @app.exception_handler(InnkeeperError)
    async def _known(request: Request, error: InnkeeperError) -> JSONResponse:
        return answer(STATUS_OF[error.kind], error.message, {"kind": error.kind.value})

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not shown again: it may be a secret.
        problems = [
            {"place": ".".join(map(str, each["loc"])), "problem": each["msg"]} for each in error.errors()[:_PROBLEMS]
        ]
        return answer(422, "the request does not fit what this route takes", problems)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(500, "the server failed; its log says more")
