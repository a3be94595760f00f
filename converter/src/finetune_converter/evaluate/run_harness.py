"""`python -m finetune_converter.evaluate.run_harness ORDER ANSWER`: lm-eval, where it is installed.

Its templates come with a task: they are rendered in Jinja's sandbox, which lm-eval does not use.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(order: dict[str, Any]) -> dict[str, Any]:
    """What lm-eval measured. Raises SystemExit with a line for a task or a metric that it does not have."""
    import lm_eval
    from lm_eval import utils
    from lm_eval.api.registry import metric_registry
    from lm_eval.tasks import TaskManager

    utils.env = _sandboxed(utils.env)
    config = order["config"]
    for metric in config.get("metric_list") or ():
        if metric["metric"] not in metric_registry:
            sys.exit(f"lm-eval has no metric {metric['metric']}")
    manager = TaskManager(include_defaults=not order["own"])
    task = config if order["own"] else _of_lm_eval(manager, config)
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args=order["model"],
        tasks=[task],
        task_manager=manager,
        limit=order["limit"],
        num_fewshot=order["numFewshot"],
        apply_chat_template=order["applyChatTemplate"],
        bootstrap_iters=0,
    )
    return _answer(results, order)


def _of_lm_eval(manager: Any, config: dict[str, Any]) -> Any:
    """One of its own tasks, or a group; what is said of a group's data is said of all of its tasks."""
    from lm_eval.tasks._factory import TaskFactory

    name = config["task"]
    if name not in manager.task_index:
        sys.exit(f"neither the task's folder nor lm-eval has a task {name}")
    overrides = {"dataset_path": config["dataset_path"]}
    return TaskFactory().build(manager.task_index[name], overrides=overrides, registry=manager.task_index)


def _sandboxed(env: Any) -> Any:
    from jinja2.sandbox import SandboxedEnvironment

    sandboxed = SandboxedEnvironment(
        loader=env.loader, undefined=env.undefined, keep_trailing_newline=env.keep_trailing_newline
    )
    sandboxed.filters.update(env.filters)
    return sandboxed


def _answer(results: Any, order: dict[str, Any]) -> dict[str, Any]:
    name = order["config"]["task"]
    figures = results.get("groups", {}).get(name) or results["results"][name]
    metric = order["metric"]
    keys = [key for key in figures if key == metric or key.startswith(f"{metric},")]
    if not keys:
        there = sorted(key for key in figures if "," in key and "_stderr" not in key)
        sys.exit(f"{name} has no metric {metric}; it has {', '.join(there)}")
    better = results["higher_is_better"].get(name, {}).get(metric.partition(",")[0])
    counts = results["n-samples"]
    return {
        "figure": figures[keys[0]],
        "metric": keys[0],
        "lowerIsBetter": better is False,
        "rows": sum(count["effective"] for count in counts.values()),
        "samples": [
            {"task": each, **_shown(sample)}
            for each, samples in results["samples"].items()
            for sample in samples
        ],
    }


def _shown(sample: dict[str, Any]) -> dict[str, Any]:
    return {key: sample[key] for key in ("doc_id", "doc", "target", "filtered_resps") if key in sample}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(answer, default=str))
