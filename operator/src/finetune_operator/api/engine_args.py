"""vLLM's arguments that a user may not give: they break the probes, the Service, Fits or what the operator
promises. Each is refused with the field that takes its place.

vLLM 0.33 (utils/argparse_utils.py) reads an argument in many spellings: --a-b, --a_b, --a-b=VALUE, --a-b.KEY,
and, as argparse has it, any beginning that no other argument shares.
"""

from collections.abc import Sequence

from finetune_operator.api.rules import Rule


def _beginnings(name: str) -> str:
    """Return what matches a name and its beginnings: ab(c(d)?)? for abcd, abc(d)? for abc|d.

    One letter is the beginning of several arguments, which argparse refuses; | is where an argument of ours
    begins that another name continues. A name that ends in * stands for all names that begin so.
    """
    head, _, tail = name.partition("|") if "|" in name else (name[:2], "", name[2:])
    rest = ".*" if tail.endswith("*") else ""
    for letter in reversed(tail.removesuffix("*")):
        rest = f"({letter}{rest})?"
    return (head + rest).replace("-", "[-_]")


def _refused(
    problem: str,
    remedy: str,
    *names: str,
    short: Sequence[str] = (),
    anywhere: Sequence[str] = (),
    unless: str = "",
) -> Rule:
    """Return the rule that refuses arguments by name, by short form, or by what stands anywhere in a word.

    unless: a condition in CEL under which they are taken.
    """
    spellings = "|".join((*(f"--{_beginnings(name)}" for name in names), *(f"-{each}" for each in short)))
    patterns = (*([f"^({spellings})([=.].*)?$"] if spellings else []), *anywhere)
    taken = f"{unless} || " if unless else ""
    return Rule(
        rule=f"{taken}!self.engineArgs.exists(a, a.matches(r'{'|'.join(patterns)}'))",
        problem=f"engineArgs {problem}",
        remedy=remedy,
        field="engineArgs",
    )


ENGINE_ARG_RULES = (
    Rule(
        rule="self.engineArgs.size() == 0 || self.engineArgs[0].startsWith('-')",
        problem="engineArgs begins with a value, which the argument before it would take",
        remedy="begin with an argument, such as --NAME=VALUE",
        field="engineArgs",
    ),
    _refused(
        "holds a variable, which Kubernetes replaces by what nobody has checked",
        "write the value out",
        anywhere=("[$][(]",),
    ),
    _refused("ends with -- what are arguments", "remove it", anywhere=("^-{1,2}$",)),
    _refused("reads further arguments from a file", "write them out", "config"),
    _refused(
        "moves the server away from where its probes and its Service find it",
        "remove it: the API is at port 8000 of the Service, and another Service can have another port",
        *("host", "port", "uds", "grpc*", "headless", "dp-supervisor*"),
    ),
    _refused(
        "has the server speak TLS, and its probes and its Service speak HTTP",
        "remove it, and end TLS in an Ingress or a Gateway",
        *("ssl*", "enable-ssl-refresh"),
    ),
    _refused(
        "makes a server that completes no text, which is what shows that it is ready",
        "remove it",
        *("tokens-only", "runner", "convert", "skip-tokenizer-init", "help"),
        short=("h",),
    ),
    _refused("names another model", "remove it, and set model", "model"),
    _refused(
        "names the model for clients, and so not for the probes",
        "remove it, and set servedModelName",
        "served-model-name",
    ),
    _refused(
        "names a load format, and so does loadFormat",
        "remove one of them; only loadFormat is compared with what servers have",
        "loa|d-format",
        unless="self.loadFormat == 'auto'",
    ),
    _refused("names adapters", "remove it, and set adapters", "lora-modules"),
    _refused(
        "holds a key in plain text",
        "remove it, put the key into a Secret, and set apiKeySecretRef to it",
        "api-key",
    ),
    _refused(
        "says how long open requests may take when a pod stops, and not to the kubelet",
        "remove it, and set terminationGracePeriodSeconds",
        "shutdown-timeout",
    ),
    _refused("holds a hub's token, and a server reaches no hub", "remove it", "hf-token"),
    _refused(
        "divides the model over other GPUs than the replica asks for",
        "remove it, and set tensorParallelSize",
        "tensor-parallel-size",
        short=("tp?",),
    ),
    _refused(
        "divides the model over other GPUs than the replica asks for",
        "remove it, and set pipelineParallelSize",
        "pipeline-parallel-size",
        short=("pp?",),
    ),
    _refused(
        "divides requests over other GPUs than the replica asks for",
        "remove it, and set dataParallelSize",
        "data-parallel*",
        short=("d(p[a-z]?)?",),
    ),
    _refused(
        "asks for more than one pod, or for more GPUs than it has",
        "remove it; nodes is how many pods a replica has",
        *("nnodes", "node-rank", "master-addr", "master-port", "prefill-context-parallel-size"),
        short=("n.*", "r.*", "pcp?"),
    ),
    _refused(
        "lets Python code that comes with the model run",
        "remove it, and set trustRemoteCode: true if you trust that code",
        "trust-remote-code",
    ),
    _refused(
        "names Python code that is to run in the server",
        "remove it; build an image with that code, and set images.server in the chart",
        *("tool-parser-plugin", "reasoning-parser-|plugin", "io-processor-plugin", "middleware"),
        *("logits-processors", "worker-cls", "worker-extension-cls", "scheduler-cls"),
        *("model-|class-overrides", "ec-manager-config", "distributed-executor-backend"),
        *("logging-config", "log-config-file", "tool-server"),
        anywhere=(
            "module[-_]path",
            '[-_](plugin|cls)"',
            "^-[^=]*[.][^=]*(plugin|cls)",
            "inductor_passes",
            "custom_class",
            # A compilation backend may be a function's qualified name.
            "^-(-compilation[-_]config|cc|O)[.]backend",
            '"backend"[^,]*[.]',
            # JSON's other spelling of all these.
            r"[\\]u",
        ),
    ),
)
