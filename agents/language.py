"""A language model behind any OpenAI-compatible endpoint: one question, one answer."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from sfvgen_plan.errors import UserError

URL_VARIABLE = "OPENAI_BASE_URL"
_BUSY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class LanguageModel:
    """Chat completions over plain HTTP.

    Attributes:
        base_url: such as http://localhost:8000/v1; empty: the environment variable ``OPENAI_BASE_URL``.
        name: the model's name at the endpoint.
        key_variable: environment variable that holds the key. Keys are never settings: settings are stored with
            results. Where the variable is unset or empty none is sent, as local endpoints have it.
        timeout: seconds to wait for an answer.
        attempts: how often a busy endpoint is asked.
        pause: seconds before the second attempt, doubled for each further one.
    """

    base_url: str = ""
    name: str = ""
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    attempts: int = 3
    pause: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("language_model.name is empty; give the model's name at the endpoint")
        if not self._url.startswith(("http://", "https://")):
            raise UserError(
                f"language_model.base_url={self._url!r} is no address; give one such as http://localhost:8000/v1, "
                f"or set {URL_VARIABLE}"
            )
        if self.attempts < 1 or self.timeout <= 0:
            raise UserError(f"language_model: attempts={self.attempts} and timeout={self.timeout} must be above 0")

    def complete(self, messages: Sequence[dict[str, Any]]) -> str:
        """The answer to ``messages``, those of OpenAI's chat completions, at temperature 0.

        Raises:
            UserError: the endpoint can't be reached, refuses, or answers something else.
        """
        body = json.dumps({"model": self.name, "messages": list(messages), "temperature": 0}).encode()
        for attempt in range(1, self.attempts + 1):
            try:
                with urllib.request.urlopen(self._request(body), timeout=self.timeout) as response:
                    return str(json.load(response)["choices"][0]["message"]["content"])
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code}: {error.read(200).decode(errors='replace')!r}"
                if error.code not in _BUSY:
                    break
            except (OSError, HTTPException) as error:
                reason = str(error) or type(error).__name__
            except (ValueError, KeyError, IndexError, TypeError) as error:
                reason = f"no chat completion ({type(error).__name__}: {error})"
                break
            if attempt < self.attempts:
                time.sleep(self.pause * 2 ** (attempt - 1))
        raise UserError(f"language_model: {self._url} did not answer ({reason}); check base_url, name and key")

    @property
    def _url(self) -> str:
        return (self.base_url or os.environ.get(URL_VARIABLE, "")).rstrip("/")

    def _request(self, body: bytes) -> urllib.request.Request:
        request = urllib.request.Request(
            f"{self._url}/chat/completions", body, {"Content-Type": "application/json"}, method="POST"
        )
        if key := os.environ.get(self.key_variable):
            request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this host alone
        return request
