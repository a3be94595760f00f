"""report.html: whole, offline, escaped, and never in the way of the training."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_page import Page

from finetune_operator.cli import finetune
from finetune_operator.core.objects import Ref
from finetune_operator.local.clock import Clock
from finetune_operator.local.layout import Layout
from finetune_operator.local.store import Store
from finetune_trainer.checkpoint.selection import write_losses
from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.report import chart, write_report
from finetune_trainer.report.cost import held
from finetune_trainer.report.curves import Metrics
from finetune_trainer.report.data import histogram
from finetune_trainer.report.samples import side_by_side

GOLDEN = Path(__file__).parents[3] / "golden" / "run" / "quickstart.json"


@pytest.fixture
def document():
    return json.loads(GOLDEN.read_text())


@pytest.fixture
def written(tmp_path, document):
    """written(failure=None) writes a report of 200 steps with five validations; the page."""

    def write(*, failure: str | None = None, steps: int = 200) -> Page | None:
        run_file = tmp_path / "run.json"
        run_file.write_text(json.dumps(document))
        run = load_run(run_file)
        folders = RunFolders(root=tmp_path, paths=run.paths)
        folders.run.mkdir(parents=True, exist_ok=True)
        lines = [step_line(step) for step in range(1, steps + 1)]
        lines += [
            {"step": step, "validationLoss": 3 - step / 100, "time": 2e9, **by_source(step)}
            for step in range(40, 201, 40)
        ]
        samples = [{"prompt": "Who?", "text": "<b>I</b>", "end": "length"}]
        lines += [{"step": step, "samples": samples, "time": 2e9} for step in (40, 200)]
        folders.metrics.write_text(
            "".join(json.dumps(line) + "\n" for line in lines[: 2 * steps]) + '{"step": 2'
        )
        folders.data_report.write_text(json.dumps({"lines": 1234, "dropped": {"promptTooLong": 3}}))
        folders.prepared.write_text(json.dumps({"base": {"source": "hf://a/b", "revision": "c" * 40}}))
        write_report(run, run_file, folders, failure=failure)
        return Page(folders.report.read_text()) if folders.report.exists() else None

    return write


def by_source(step: int) -> dict[str, dict[str, float]]:
    return {"validationLossBySource": {"faq": 2 - step / 100, "chats": 4 - step / 100}}


def step_line(step: int) -> dict[str, float]:
    figures = {"loss": 4 / step, "gradNorm": 0.5, "learningRate": 1e-3, "tokensPerSecond": 1000.0 + step}
    figures |= {"expertLoad": 2.0, "expertRankLoad": 1.25, "slowestRank": step % 4 and 3, "slowdown": 1.5}
    return {"step": step, **figures, "peakMemoryBytes": 3 * 2**30, "time": 1.9e9}


def test_a_report_has_curves_data_lineage_and_configuration(written):
    page = written()
    titles = [title for title in page.texts if title in ("Data", "Lineage", "Configuration")]
    assert titles == ["Data", "Lineage", "Configuration"]
    assert page.tags.count("svg") == 7
    for text in (
        "Samples",
        "Who?",
        "<b>I</b>",
        "1,234",
        "dropped.promptTooLong",
        "hf://a/b, revision " + "c" * 40,
        "training.learningRate",
    ):
        assert text in page.texts
    assert "1 (step 200)" in page.texts  # the best validation loss
    assert page.tags.count("polyline") == 11
    assert {"validation, faq", "validation, chats"} <= set(page.texts)
    assert "3 in 75% of the steps, 1.50 times one in the middle" in page.texts


@pytest.mark.parametrize(
    ("select", "said"),
    [
        pytest.param("last", "120: the last one, as training.select says", id="last"),
        pytest.param("best", "80: the least validation loss of the saved steps, 1.25", id="best"),
    ],
)
def test_a_report_says_which_step_is_exported_and_why(written, document, tmp_path, select, said):
    document["training"]["select"] = select
    checkpoints = tmp_path / document["paths"]["run"] / "checkpoints"
    for step in (80, 120):
        (checkpoints / f"step-{step}").mkdir(parents=True)
    write_losses(checkpoints, {40: 1.0, 80: 1.25, 120: 1.5})
    assert said in written().texts
    assert said not in written(failure="it was stopped").texts


@pytest.mark.parametrize(
    ("steps", "exported", "shown"),
    [
        pytest.param([0, 10, 20, 30], 10, ["before training", "step 10, exported", "step 30"], id="best"),
        pytest.param([0, 10, 20, 30], 30, ["before training", "step 30, exported"], id="last"),
        pytest.param([0, 10, 20], None, ["before training", "step 20"], id="ended early"),
        pytest.param([0, 20], 15, ["before training", "step 20"], id="a step without samples"),
        pytest.param([0], None, ["before training"], id="before training alone"),
        pytest.param([], None, [], id="none"),
    ],
)
def test_samples_stand_side_by_side(steps, exported, shown):
    samples = {
        step: [{"prompt": prompt, "text": f"{prompt} at {step}", "end": "time"} for prompt in ("a", "b")]
        for step in steps
    }
    told = side_by_side(samples, exported)
    assert [answers.prompt for answers in told] == (["a", "b"] if steps else [])
    for answers in told:
        assert [answer.when for answer in answers.answers] == shown
        assert {answer.cut for answer in answers.answers} == {"cut at maxSeconds"}


def test_a_report_loads_nothing(written):
    page = written()
    assert page.references == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_what_comes_from_files_is_escaped(written, document):
    document["dataset"]["sources"][0]["uri"] = "datasets/<script>alert(1)</script>.jsonl"
    page = written(failure="<b>bold</b>")
    assert "script" not in page.tags
    assert "<b>bold</b>" in page.texts


def test_a_run_that_trained_nothing_has_no_report(written):
    assert written(steps=0) is None


def test_a_report_that_cannot_be_written_is_only_logged(written, monkeypatch, caplog):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    assert written() is None
    assert "report.html is not written" in caplog.text


@pytest.mark.parametrize(
    ("low", "high", "finest", "expected"),
    [
        pytest.param(1, 200, 1, [50, 100, 150, 200], id="steps"),
        pytest.param(1, 3, 1, [1, 2, 3], id="few-steps"),
        pytest.param(0, 1, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0], id="share"),
        pytest.param(-2e-5, 3e-5, 0, [-2e-5, -1e-5, 0, 1e-5, 2e-5, 3e-5], id="small"),
    ],
)
def test_ticks_are_round(low, high, finest, expected):
    assert chart.tick_values(low, high, finest=finest) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(1234567.8, "1,234,568", id="thousands"),
        pytest.param(2.34567, "2.346", id="digits"),
        pytest.param(0.05, "0.05", id="no-zeros-at-the-end"),
        pytest.param(100.0, "100", id="hundred"),
        pytest.param(2e-5, "2e-05", id="small"),
        pytest.param(-0.5, "-0.5", id="negative"),
    ],
)
def test_numbers_are_short(value, text):
    assert chart.number(value) == text


def test_a_long_curve_is_averaged():
    points = [(float(step), float(step % 2)) for step in range(100_000)]
    thin = chart.thinned(points, 800)
    assert len(thin) <= 800
    assert {round(value, 1) for _, value in thin} == {0.5}


@pytest.mark.parametrize("values", [pytest.param([0.0], id="zero"), pytest.param([2.5, 2.5], id="level")])
def test_a_curve_without_a_span_is_drawn(values):
    drawn = chart.draw_chart("Loss", {"training": list(enumerate(values, start=1))})
    assert drawn is not None
    assert "nan" not in drawn.lines[0].points


def test_values_that_are_not_finite_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": null}\n{"step": 2, "loss": 1.5}\n')
    assert Metrics.read(tmp_path / "metrics.jsonl").curve("loss") == ((2.0, 1.5),)


def test_the_exported_step_is_pointed_out_on_the_losses() -> None:
    drawn = chart.draw_chart("Loss", {"training": [(0, 3.0), (100, 1.0)]}, mark=(50, "exported"))
    assert drawn is not None
    assert drawn.mark == chart.Tick(place=(chart.LEFT + chart.WIDTH - chart.RIGHT) / 2, text="exported")


def test_documents_by_their_tokens_are_bars_from_zero() -> None:
    files = [{"histogram": {"64": 3, "16": 1}}, {"histogram": {"64": 1}}]
    assert histogram(files) == {"to 16": 1, "to 64": 4}
    drawn = chart.draw_bars("Documents", histogram(files))
    assert drawn is not None
    assert [bar.height for bar in drawn.bars] == pytest.approx(
        [(chart.HEIGHT - chart.TOP - chart.BOTTOM) * share for share in (0.25, 1)], abs=0.1
    )
    assert drawn.bars[1].text == "4 documents to 64 tokens"
    assert chart.draw_bars("Documents", {}) is None


def test_cost_counts_what_was_held_and_not_the_time_that_a_run_was_stopped(written, tmp_path) -> None:
    written()
    page = Page((tmp_path / "runs/default/faq/3f2a9c1b/report.html").read_text())
    assert "hours of CPU processes" not in page.texts  # all its steps are of one moment
    times = [0.0, 10.0, 20.0, 5000.0, 5010.0]
    assert held(times) == (30.0, 1)
    assert held([0.0, 900.0, 1800.0]) == (1800.0, 0)
    assert held([7.0]) == (0.0, 0)


@pytest.mark.parametrize(
    ("planned", "texts"),
    [
        pytest.param(str(4 * 2**30), {"4.00 GiB", "3.00 GiB"}, id="planned"),
        pytest.param(
            None, {"3.00 GiB", "Nothing was planned: the size of the base was not known then."}, id="not"
        ),
    ],
)
def test_memory_is_shown_as_planned_and_as_used(written, monkeypatch, planned, texts) -> None:
    monkeypatch.delenv("FINETUNE_PLANNED_MEMORY", raising=False)
    if planned:
        monkeypatch.setenv("FINETUNE_PLANNED_MEMORY", planned)
    assert texts <= set(written().texts)


def test_two_runs_are_compared_by_the_command(written, document, tmp_path, monkeypatch) -> None:
    """`finetune report A B`: by a job's name in the storage folder, and by a run's folder."""
    written()
    document["name"], document["training"]["learningRate"] = "slower", 1e-5
    document["paths"]["run"] = "runs/default/slower/3f2a9c1b"
    written()
    store = Store(Layout(storage=tmp_path).objects, Clock())
    job = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", "spec": {}}
    applied = store.apply({**job, "metadata": {"name": "faq", "namespace": "default"}})
    store.set_status(Ref.of(applied), {"run": "3f2a9c1b"})
    folder, output = tmp_path / "runs/default/slower/3f2a9c1b", tmp_path / "compared.html"
    # Every image's environment is this one, as where all is installed together.
    monkeypatch.setenv("FINETUNE_ENVS", str(tmp_path / "no-envs"))

    def report(*runs: str) -> Result:
        options = ["--storage", str(tmp_path), "--output", str(output)]
        return CliRunner().invoke(finetune, ["report", *runs, *options])

    ended = report("faq", str(folder))
    assert (ended.exit_code, ended.output) == (0, f"{output}\n")
    page = Page(output.read_text())
    assert {"faq (3f2a9c1b)", "slower (3f2a9c1b)", "training.learningRate", "1e-05", "Who?"} <= set(
        page.texts
    )
    assert "lora.rank" not in page.texts
    assert page.tags.count("svg") == 6
    assert page.references == []

    assert report("faq").output == f"{tmp_path / 'runs/default/faq/3f2a9c1b/report.html'}\n"
    refused = str(report("faq", str(tmp_path)).exception)
    assert f"{tmp_path} has no report.json: no run that has trained a step is there" in refused
    assert "there is no FineTuneJob default/nobody" in str(report("faq", "nobody").exception)
