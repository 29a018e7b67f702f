"""A page in which a person marks the words of texts and trains an explainer on them."""

from expnet.errors import require_extra

for _package in ("fastapi", "filelock", "uvicorn"):
    require_extra(_package, "serve")
from expnet.studio.app import create_app as create_app
from expnet.studio.desk import Desk as Desk
from expnet.studio.importing import bring as bring
from expnet.studio.marks import Marks as Marks
from expnet.studio.texts import read_texts as read_texts
