"""How cases are drawn. Simple values are drawn most often, so that faults stand apart."""

from hypothesis import strategies as st

from cases import Cached, Call, Compiled, OnRanks, Sequence


def often(usual, *rare, times=3):
    """``usual`` about as often as all of ``rare`` together, or ``times`` as often as one."""
    return st.sampled_from([usual] * max(times, len(rare)) + list(rare))


ROWS = often(
    "normal", "identical", "collapsed", "antipodal", "duplicates", "one hot", "clusters",
    "mixed norms", "far from the origin",
)  # fmt: skip
NORMS = often(
    1.0, 1e-30, 1e-22, 1e-10, 1e-3, 30.0, 1e4, 1e10, 1e18, 1e19, 1e25, 1e30
)  # fmt: skip
DTYPES = often("float32", "float64", "bfloat16", "float16")
MEMORY = often("plain", "transposed", "sliced", "stepped", "expanded")
IDS = often(
    "own", "few", "pairs", "one", "negative", "huge", "lowest", "highest", "both ends",
    "dtype's ends", times=1,
)  # fmt: skip
ID_DTYPES = often("int64", "int32", "uint8", "int8", "int16")
WEIGHTS = often(
    "uniform", "some zero", "all zero", "400", "large", "small", "negative", "wide", times=1
)
WEIGHT_DTYPES = often("float32", "float64", "float16", "bfloat16", "int64")
TAUS = often(0.5, 0.003, 0.02, 0.07, 0.1, 1.0, 5.0, 50.0, 1e-38, 1e-39, 1e-20, 1e20, 0.0, -1.0)
GOOD_TAUS = st.sampled_from([0.02, 0.05, 0.1, 0.5, 2.0])
TAU_AS = often(
    "float", "scale", "tensor float32", "tensor float64", "tensor float16", "tensor bfloat16",
    "scale float32", "scale float64",
)  # fmt: skip
BAD = often(
    "nothing", "nan row", "width", "dtype", "two temperatures", "option", "engine", "distributed",
    "reduction", "ids length", "ids float", "weights length", "weights list", "missing view",
)  # fmt: skip


@st.composite
def calls(draw, large=False, good=False, losses=("nt_xent", "sup_con", "info_nce", "moco")):
    """One call; ``large`` ones take many tiles, ``good`` ones have nothing extreme."""
    loss = draw(st.sampled_from(losses))
    fields = {"loss": loss, "seed": draw(st.integers(0, 9))}
    fields["n"] = (
        draw(st.integers(260, 420))
        if large
        else draw(st.one_of(st.integers(2 if good else 1, 9), st.integers(2, 80)))
    )
    fields["d"] = draw(st.sampled_from([1, 2, 3, 5, 8, 16, 17, 40]))
    fields["dtype"] = draw(DTYPES)
    fields["rows"] = draw(ROWS)
    fields["memory"] = draw(MEMORY)
    fields["module"] = loss == "moco" or draw(st.sampled_from([False, False, True]))
    if fields["module"]:
        fields["learnable"] = draw(st.booleans())
    else:
        fields["tau_as"] = draw(TAU_AS)
    fields["reduction"] = draw(often("mean", "sum", "none"))
    fields["tau"] = draw(GOOD_TAUS if good or draw(st.booleans()) else TAUS)
    if not good:
        fields["norm"] = draw(NORMS)
        fields["normalize"] = draw(often(True, False))
        if draw(often(False, True, times=9)):
            fields["bad"] = draw(BAD)
        fields["grad"] = draw(often("on", "no_grad", "inference", times=9))
        fields["missing"] = (
            draw(st.sampled_from(["error", "skip"])) if loss == "sup_con" else "error"
        )
    if draw(st.booleans()) and draw(st.booleans()):
        fields["weights"] = draw(st.just("uniform") if good else WEIGHTS)
        fields["weights_dtype"] = draw(st.just("float32") if good else WEIGHT_DTYPES)
    if draw(often("off", "on")) == "on":
        fields["autocast"] = draw(st.sampled_from(["bfloat16", "float16"]))
        fields["inside"] = draw(st.booleans())
    fields |= draw(_own_fields(loss, fields["n"], large, good))
    return Call(**fields)


@st.composite
def _own_fields(draw, loss, n, large, good):
    """The fields that only one of the losses has."""
    fields = {}
    if loss == "moco":
        fields |= {"symmetric": False, "in_batch": False, "frozen": 1}
        fields["negatives"] = draw(st.integers(n, 2 * n + 3))
        return fields
    if loss == "sup_con" or draw(often(False, True)):
        fields["ids"] = draw(st.sampled_from(["few", "pairs"]) if good else IDS)
        fields["ids_dtype"] = "int64" if good else draw(ID_DTYPES)
    if loss == "nt_xent":
        fields["layout"] = draw(often("views", "stacked", "halves", "interleaved"))
        if fields["layout"] in ("views", "stacked"):
            fields["views"] = draw(often(2, 3, 4))
        fields["decoupled"] = draw(often(False, True))
        fields["stats"] = draw(often(False, True))
        fields["frozen"] = draw(often(0, 1))
    elif loss == "sup_con":
        layout = draw(st.sampled_from(["views", "stacked"]))
        fields |= {"layout": layout, "views": 1 if layout == "views" else draw(often(2, 3, 1))}
    else:
        fields["symmetric"] = draw(st.booleans())
        fields["decoupled"] = draw(often(False, True))
        fields["frozen"] = draw(often(0, 1))
        if large:
            fields["negatives"] = draw(st.sampled_from([4000, 7000]))
        elif draw(st.booleans()):
            fields["negatives"] = draw(st.integers(1, 20))
        if fields.get("negatives"):
            fields["in_batch"] = fields["symmetric"] or draw(st.booleans())
            fields["shared"] = draw(often(False, True))
    return fields


BEFORE = st.sampled_from([
    "meta", "eval", "inference_mode", "no_grad", "float64 by default", "autocast", "eval", "vmap",
    "nan row", "width", "option", "hook",
])  # fmt: skip


def sequences():
    return st.builds(
        Sequence,
        call=st.one_of(
            calls(good=True), calls(large=True, good=True), calls(good=True, losses=("moco",))
        ),
        before=st.lists(BEFORE, min_size=1, max_size=3).map(tuple),
    )


@st.composite
def compiled(draw, backends=("eager", "aot_eager")):
    loss = draw(st.sampled_from(["nt_xent", "sup_con", "info_nce"]))
    call = Call(
        loss=loss,
        d=draw(st.sampled_from([3, 8])),
        module=draw(st.booleans()),
        reduction=draw(often("mean", "sum")),
        views=1 if loss == "sup_con" else 2,
        ids="few" if loss == "sup_con" else "none",
        decoupled=loss != "sup_con" and draw(often(False, True)),
        seed=draw(st.integers(0, 3)),
    )
    backend = draw(st.sampled_from(backends))
    dynamic = draw(st.sampled_from([True, True, None, False]))
    most = 2 if dynamic is False else 9
    sizes = draw(st.lists(st.integers(6, 70), min_size=1, max_size=most, unique=True))
    taus = [0.5]
    if not call.module:
        taus = draw(st.lists(GOOD_TAUS, min_size=1, max_size=2, unique=True))
    return Compiled(
        call=call,
        sizes=tuple(sizes),
        taus=tuple(taus),
        dynamic=dynamic,
        fullgraph=draw(st.booleans()),
        backend=backend,
    )


# Not an unknown option: Python itself refuses it, before anything of the loss has run.
RANK_BAD = often(
    "nothing", "nan row", "width", "dtype", "engine", "distributed", "check_values",
    "reduction", "temperature", "float64", "weights length", "weights dtype", "weights missing",
    times=24,
)  # fmt: skip


@st.composite
def on_ranks(draw):
    large = draw(often(False, True, times=9))
    call = draw(calls(good=True))
    changes = {"memory": "plain", "frozen": call.frozen if call.loss == "moco" else 0}
    if large:  # many tiles on each rank, few of them for the definition
        changes = {"loss": "info_nce", "n": 40, "negatives": 60000, "layout": "views", "views": 2}
        changes |= {"symmetric": False, "stats": False, "shared": False, "d": 8, "frozen": 0}
        changes |= {"memory": "plain", "in_batch": True, "module": False, "learnable": False}
    fields = {name: getattr(call, name) for name in call.__dataclass_fields__}
    return OnRanks(
        call=Call(**fields | changes),
        ranks=draw(st.sampled_from([2, 3])),
        empty=draw(often(0, 1, times=4)),
        uneven=draw(st.booleans()),
        mode=draw(st.sampled_from(["gather", "ring", "auto"])),
        bad=draw(RANK_BAD),
    )


@st.composite
def cached(draw):
    loss = draw(often("nt_xent", "info_nce"))
    n = draw(st.integers(2, 12))
    norm = draw(often("none", "eval", "train"))
    dropout = draw(often(False, True))
    fails = draw(often(0, 1, 2))
    # Chunks of layers that couple rows, or draw random numbers, are another network.
    whole = not fails and (norm == "train" or dropout)
    return Cached(
        loss=loss,
        n=n,
        views=draw(often(2, 3)) if loss == "nt_xent" else 2,
        chunk_size=n if whole else draw(st.integers(1, n)),
        towers=draw(often("shared", "own", "frozen")),
        norm=norm,
        dropout=dropout,
        form=draw(often("tensor", "dict", "list")),
        inputs=draw(st.sampled_from(["data", "leaf", "graph"])),
        stats=loss == "nt_xent" and draw(st.booleans()),
        scaler=draw(st.booleans()),
        autocast=draw(often(False, True)),
        fails=fails,
        seed=draw(st.integers(0, 5)),
    )
