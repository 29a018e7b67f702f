"""Two processes of Ray write what one process writes without it."""

from functools import partial

import pytest

import expnet
from expnet.errors import BatchError
from tests.batch_jobs import TEXTS, content, read, run, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import FIRST_WORD, WORDS, build, save

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'expnet[ray]'")

from expnet.batch import Settings, explain_file  # noqa: E402
from expnet.batch.on_ray import on_ray  # noqa: E402

# Ray's own code warns of what it is going to change.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """What loads the explainer, here and in Ray's processes."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(folder / "network")
    return partial(expnet.load, folder / "classifier", explainer=folder / "network")


@pytest.fixture(scope="module")
def cluster():
    """One Ray for all tests, as it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # by default its processes wait for all others of a busy machine
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def test_two_workers_write_the_same_bytes_and_go_on_with_what_is_missing(tmp_path, load, cluster):
    rows = [{"id": n, "text": None if n == 5 else TEXTS[n % 7]} for n in range(14)]
    source = write_parquet(tmp_path / "in.parquet", rows)
    run(load(), source, tmp_path / "here", shard_rows=3)
    expected = content(tmp_path / "here")
    settings, engine = Settings(shard_rows=3), on_ray(load, workers=2)
    for _ in range(2):
        summary = explain_file(load(), source, tmp_path / "there", settings=settings, engine=engine)
        assert (summary.statuses, summary.shards) == ({"ok": 13, "missing": 1}, 5)
        assert content(tmp_path / "there") == expected
        (tmp_path / "there" / "part-000003.parquet").unlink()


def test_a_worker_that_loads_another_model_stops_the_job(tmp_path, load, cluster):
    source = write_parquet(tmp_path / "in.parquet")
    other = tiny_explainer(tiny_classifier(seed=1))
    with pytest.raises(BatchError, match=r"another model.*classifier_hash"):
        explain_file(other, source, tmp_path / "out", engine=on_ray(load, workers=1))
    assert list(content(tmp_path / "out")) == ["_job.json"]


def load_failing(folder):
    """An explainer whose model raises on texts that hold "film"."""
    explainer = expnet.load(folder / "classifier", explainer=folder / "network")

    def fail(_module, inputs):
        if (inputs[0] == FIRST_WORD + WORDS.index("film")).any():
            raise IndexError("index out of range in self")

    explainer.classifier.model.get_input_embeddings().register_forward_pre_hook(fail)
    return explainer


def test_a_row_on_which_the_model_fails_is_marked_and_the_workers_go_on(tmp_path, load, cluster):
    source = write_parquet(tmp_path / "in.parquet")
    failing = partial(load_failing, load.args[0].parent)
    engine = on_ray(failing, workers=2)
    explain_file(failing(), source, tmp_path / "out", settings=Settings(shard_rows=3), engine=engine)
    explained = read(tmp_path / "out")
    assert [row["status"] for row in explained] == ["failed" if "film" in text else "ok" for text in TEXTS]
    assert explained[0]["error"] == "IndexError: index out of range in self"
