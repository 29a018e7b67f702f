"""A hub in a folder: what is pushed lies in the cache as if it had been fetched, and loads by its id."""

import shutil
from pathlib import Path

import pytest

_COMMIT = "0" * 40


class LocalHub:
    """Takes the place of huggingface_hub's calls and of its cache, as long as the fixture lasts."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        monkeypatch.setattr("huggingface_hub.HfApi.create_repo", self._create)
        monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", self._upload)

    def files(self, name: str) -> Path:
        """Return the folder where the files of a repository lie."""
        return self.cache / f"models--{name.replace('/', '--')}" / "snapshots" / _COMMIT

    def _create(self, repo_id: str, **_options: object) -> type:
        refs = self.files(repo_id).parents[1] / "refs"
        refs.mkdir(parents=True)
        (refs / "main").write_text(_COMMIT)
        return type("Url", (), {"repo_id": repo_id})

    def _upload(self, *, folder_path: str | Path, repo_id: str, **_options: object) -> str:
        shutil.copytree(folder_path, self.files(repo_id))
        return f"https://hub.example/{repo_id}"
