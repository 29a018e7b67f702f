"""A live endpoint and page: predictions and explanations over HTTP."""

from expnet.serve.app import create_app as create_app
from expnet.serve.limits import Limits as Limits
