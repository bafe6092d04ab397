MECHANISM_RUNS = suite.runs_of("mechanism") if "mechanism" in suite.ablations else []
MECHANISM_LABELS = (
    suite.datasets_of("label_mechanism") if "label_mechanism" in suite.ablations else []
)
MECHANISM_DATASETS = sorted({run.dataset for run in MECHANISM_RUNS} | set(MECHANISM_LABELS))


rule sort_pairs:
    """Sort the pairs of atoms of held-out structures into shells of distance."""
    input:
        structures="<results>/data/{dataset}/structures.extxyz",
        splits="<results>/data/{dataset}/splits.csv",
    output:
        shells="<results>/data/{dataset}/pair_shells.npz",
    log:
        "<results>/logs/sort_pairs/{dataset}.log",
    resources:
        **asks("sort_pairs"),
    params:
        code=code_digest("pesloss.evaluation.correlation", "pesloss.data.store"),
    script:
        "../../scripts/sort_pairs.py"


rule correlate_labels:
    """Sum products of the local energies of pairs of atoms, shell by shell."""
    input:
        shells="<results>/data/{dataset}/pair_shells.npz",
        statistics="<results>/statistics/{dataset}/statistics.json",
    output:
        products="<results>/statistics/{dataset}/correlation.csv",
    log:
        "<results>/logs/correlate_labels/{dataset}.log",
    resources:
        **asks("correlate_labels"),
    params:
        code=code_digest("pesloss.evaluation.correlation"),
    script:
        "../../scripts/correlate_labels.py"


rule correlate_errors:
    """Sum products of the local energy errors of pairs of atoms, shell by shell."""
    input:
        shells="<results>/data/{dataset}/pair_shells.npz",
        evaluated=evaluated,
    output:
        products=run_file("correlation.csv"),
        manifest=run_file("correlation.json"),
    log:
        f"<results>/logs/correlate_errors/{suite.run_pattern}.log",
    resources:
        **asks("correlate_errors"),
    params:
        code=code_digest("pesloss.evaluation.correlation"),
    script:
        "../../scripts/correlate_errors.py"


rule tabulate_correlation:
    """Join the correlations of labels and errors, and the exponents that follow from them."""
    input:
        runs=[
            f"<results>/runs/{run.folder}/correlation.{suffix}"
            for run in MECHANISM_RUNS
            for suffix in ("csv", "json")
        ],
        receipts=receipts(MECHANISM_RUNS),
        labels=[f"<results>/statistics/{name}/correlation.csv" for name in MECHANISM_DATASETS],
        statistics=[
            f"<results>/statistics/{dataset}/{name}"
            for dataset in MECHANISM_DATASETS
            for name in ("labels.csv", "force_labels.csv", "statistics.json")
        ],
    output:
        correlation="<results>/tables/correlation.csv",
        exponents="<results>/tables/predicted_exponents.csv",
    log:
        "<results>/logs/tabulate_correlation.log",
    resources:
        **asks("tabulate_correlation"),
    params:
        code=code_digest("pesloss.claims.correlation_tables"),
        runs=folders(MECHANISM_RUNS),
        n_resamples=suite.config.n_resamples,
    script:
        "../../scripts/tabulate_correlation.py"
