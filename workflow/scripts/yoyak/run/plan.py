"""The execution plan: how a training runs on this machine. It never changes what is learned."""

from dataclasses import asdict, dataclass

from yoyak.run.memory import GIB

FILLED = 1024  # packs in CUDA graphs are filled up to a multiple of so many tokens
LAYERS = {
    "fused": "fused decoder layers",
    "compiled": "the model's own layers, compiled",
    "own": "the model's own layers",
}


@dataclass(frozen=True)
class Engine:
    """How the loss of a global batch is computed.

    path: "packed" (no padding, our attention) or "plain" (padded, all of it the model's own).
    head: of a pack, "chunked" (logits of a linear head, a piece at a time) or "model" (its own).
    layers: the fastest kind of decoder layers that a packed plan may run, where they pay: "fused"
        (kernels of our own), "compiled" (the model's own, by torch.compile) or "own" (as they are).
    one_row: on the plain path, one row at a time, for models whose rows change beside others.
    eager: on the plain path, eager attention, which writes its scores out.
    """

    path: str = "packed"
    head: str = "chunked"
    layers: str = "fused"
    one_row: bool = False
    eager: bool = False


@dataclass(frozen=True)
class Plan:
    """One way to run a training; recorded in run.json and kept with every checkpoint."""

    device: str
    threads: int
    compute_dtype: str
    base_weights: str
    token_budget: int
    gradient_checkpointing: bool
    layers: str
    optim: str
    predicted_bytes: int
    available_bytes: int
    devices: int = 1  # processes that share every batch, each on a device of its own
    engine: str = "packed"
    head: str = "chunked"
    one_row: bool = False
    eager: bool = False
    graphs: bool = False  # a pack's kernels launched by one call (training/pack_graphs.py)

    def runs(self) -> str:
        """The engine in words."""
        if self.engine == "plain":
            rows = "one row at a time" if self.one_row else "padded batches"
            attention = " with eager attention" if self.eager else ""
            return f"plain: {rows}, the model's own forward{attention}"
        layers = LAYERS[self.layers]
        head = "" if self.head == "chunked" else ", its own head"
        graphs = ", in CUDA graphs" if self.graphs else ""
        return f"packed: {layers}{head}{graphs}"

    def record(self) -> dict:
        return asdict(self)

    def table(self) -> str:
        """The plan as two aligned columns, for the log."""
        rows = {key: value for key, value in asdict(self).items() if not key.endswith("_bytes")}
        rows["token_budget"] = f"{self.token_budget:,} tokens a micro-batch"
        if self.device != "cpu":
            rows["memory"] = (
                f"{self.predicted_bytes / GIB:.1f} GiB predicted of "
                f"{self.available_bytes / GIB:.1f} GiB free"
            )
        width = max(map(len, rows))
        return "\n".join(f"  {key:<{width}}  {value}" for key, value in rows.items())
