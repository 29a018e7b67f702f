"""A browser without a script, as far as forms go: it says which page a form comes from."""

from fastapi import FastAPI
from starlette.testclient import TestClient

BROWSER = {"accept": "text/html,*/*;q=0.8"}  # as browsers ask for a page


class Browser(TestClient):
    """A client that shows the pages of an application, and sends their forms."""

    def __init__(self, app: FastAPI, *, base_url: str = "http://testserver") -> None:
        super().__init__(app, base_url=base_url, headers={"origin": base_url})
