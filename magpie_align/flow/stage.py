"""What a stage is: typed settings that name their inputs, and a `run` that writes one artifact."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from magpie_align.errors import StageError
from magpie_align.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from magpie_align.flow.progress import Progress
    from magpie_align.flow.table import Shard, Table

Product = Literal["rows", "vectors", "model", "tasks", "scores", "report", "probe", "release", "data"]
"""What a stage can make; `data` is never made: it is what somebody else published, files or a data set of the hub."""

Reads = Literal["nothing", "tokenizer", "weights"]
"""How much of a model, from less to more."""


@dataclass(frozen=True)
class Ref:
    """Marks a setting that names an input: another stage, or (where `external`) a folder, a file of data, or a hub id.

    `reads` says how much of an outside model is needed here, so that no more is fetched. `marker` is the file by which a model
    folder is known. The words in `builtin` name what needs no input at all; no stage they are said to may be called so.
    """

    product: Product
    external: bool = False
    reads: Reads = "weights"
    marker: str = "config.json"
    builtin: tuple[str, ...] = ()


RowsRef = Annotated[str, Ref("rows")]
VectorsRef = Annotated[str, Ref("vectors")]
ModelRef = Annotated[str, Ref("model", external=True)]
TokenizerRef = Annotated[str, Ref("model", external=True, reads="tokenizer")]
EmbedderRef = Annotated[str, Ref("model", external=True, marker="modules.json", builtin=("ngram",))]
TasksRef = Annotated[str, Ref("tasks")]
ScoresRef = Annotated[str, Ref("scores")]
ProbeRef = Annotated[str, Ref("probe")]
DataRef = Annotated[str, Ref("data", external=True)]


@dataclass(frozen=True)
class Columns:
    """The columns of the rows that a stage makes, for planning."""

    adds: tuple[str, ...]
    """Those whose values it makes."""
    carries: tuple[str, ...] = ()
    """Those it takes as they are from the row of `data` with the same uuid."""
    cost: int | None = None
    """Given by a stage whose every row depends on the row of `data` with the same uuid alone, so that it can be run on some of
    them: the rank of what a row costs. 1 by rule or a small model, 2 read by a model, 3 a short answer, 4 a long one."""
    copies: bool = False
    """Whether it makes several rows of one."""
    beside: tuple[str, ...] = ()
    """Settings that name more rows of which it reads only those with the uuids of its own."""


def is_external(value: str) -> bool:
    """A stage is named by a bare word; whatever holds a slash is a folder, a file or a hub id (`org/name` or `org/name@revision`)."""
    return "/" in value


class Stage(Settings):
    """Subclass it in `magpie_align/stages/KIND.py`; the module's name is what recipes say in `use: KIND`.

    `version` goes up when the same settings would make other content; it is part of the fingerprint. `grace` is how many
    seconds it may take to save its state when it is asked to stop by SIGTERM; one that saves all along is ended by the signal.
    """

    version: ClassVar[int] = 1
    sharded: ClassVar[bool] = False
    grace: ClassVar[float] = 20.0
    produces: ClassVar[Product]

    def problems(self) -> list[str]:
        """Sentences on what is wrong with these settings beyond their types; asked before any work starts."""
        return []

    def made_columns(self) -> Columns | None:
        """The columns of the rows it makes; None where they are not known before it has run."""
        return None

    @abstractmethod
    def run(self, ctx: "Context") -> None:
        """Write the artifact's content into `ctx.out`. May be called again after a kill, and then goes on.

        Raises AgainError when it has saved its state because it was asked to stop.

        A stage that is `sharded` may be called for one shard of its rows, `ctx.shard`, in several processes at once; called
        without, it makes what no shard made and notes the figures of the whole.
        """

    def reads(self, ref: Ref) -> Reads:
        """How much of the outside model behind `ref` is needed on this machine; less where an endpoint serves it."""
        return ref.reads

    def joins(self, parent: "Stage") -> bool:
        """Whether this stage, an input of which `parent` makes, is better made in one process with it, as its rows come."""
        return False

    def run_joined(
        self, ctx: "Context", parent: "Stage", parent_ctx: "Context", parent_done: Callable[[], None]
    ) -> None:
        """Make both artifacts, the very ones that two runs would make; call `parent_done` as soon as the parent's is whole."""
        raise NotImplementedError

    def refs(self) -> Iterator[tuple[str, str, Ref]]:
        """(field, value, what is wanted) for every input these settings name."""
        return (entry for entry in self._marked() if entry[1] not in entry[2].builtin)

    def builtins(self) -> Iterator[tuple[str, str]]:
        """(field, word) for every word these settings say that stands for something built in."""
        return ((name, value) for name, value, ref in self._marked() if value in ref.builtin)

    def _marked(self) -> Iterator[tuple[str, str, Ref]]:
        for name, info in type(self).model_fields.items():
            ref = _find_ref(info.metadata, info.annotation)
            if ref is not None:
                for value in _values(getattr(self, name)):
                    yield name, value, ref


def _find_ref(metadata: list[Any], annotation: Any) -> Ref | None:
    for mark in metadata:
        if isinstance(mark, Ref):
            return mark
    for arg in get_args(annotation):
        found = _find_ref(list(getattr(arg, "__metadata__", [])), arg)
        if found is not None:
            return found
    return None


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return list(value.values()) if isinstance(value, dict) else list(value)


@dataclass
class Context:
    """What a running stage is given. `out` is the artifact's content, `work` is scratch that survives a kill."""

    out: Path
    work: Path
    inputs: dict[str, Path]
    progress: "Progress"
    shard: "Shard | None" = None
    summary: dict[str, Any] = field(default_factory=dict)

    def path(self, ref: str) -> Path:
        """Folder of the input that a setting names: an upstream artifact's content, or a model folder."""
        try:
            return self.inputs[ref]
        except KeyError:
            raise StageError(f"'{ref}' is no input of this stage; it has: {', '.join(self.inputs) or 'none'}") from None

    def name_of(self, ref: str) -> str:
        """What to call an input in records: a hub id or folder as given, an upstream artifact by its name in the store."""
        return ref if is_external(ref) else self.path(ref).parent.name

    def revision_of(self, ref: str) -> str | None:
        """Which version of an input this is: a hub commit, or an artifact's fingerprint; None for a local folder."""
        folder = self.path(ref)
        if not is_external(ref):
            return folder.parent.name.rpartition("-")[2]
        return folder.name if folder.parent.name == "snapshots" else None

    def table(self, total: int, schema: "pa.Schema", chunk: int = 1000, folder: Path | None = None) -> "Table":
        """A table of `total` rows, or of this shard's, that is filled in any order and survives a kill; in `out` by default."""
        from magpie_align.flow.table import WHOLE, Table

        return Table(folder or self.out, self.work / "journal", total, schema, chunk, self.shard or WHOLE)

    def note(self, **figures: Any) -> None:
        """Keep figures about what was made in the manifest."""
        self.summary.update(figures)
