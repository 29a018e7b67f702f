"""A live endpoint and page: predictions and explanations over HTTP."""

from expnet.errors import require_extra

for _package in ("fastapi", "uvicorn", "prometheus_client"):
    require_extra(_package, "serve")
from expnet.serve.app import create_app as create_app
from expnet.web.limits import Limits as Limits
