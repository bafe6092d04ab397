rule evaluate_run:
    """Compare the predictions of one run that is asked for by name with the labels."""
    input:
        record=run_file(RECORD),
        predictions=run_file("predictions.npz"),
        graphs=graphs_of,
        labels="<results>/statistics/{dataset}/labels.csv",
    output:
        structures=run_file("structures.csv.gz"),
        atoms=run_file("atoms.csv.gz"),
        evaluation=run_file(EVALUATION),
    log:
        f"<results>/logs/evaluate_run/{suite.run_pattern}.log",
    resources:
        **asks("evaluate_run"),
    params:
        code=code_digest("pesloss.evaluation.errors"),
    script:
        "../scripts/evaluate_run.py"


rule tabulate_labels:
    """Join the standardised labels of all datasets."""
    input:
        labels=collect("<results>/statistics/{dataset}/labels.csv", dataset=suite.datasets_in_use),
        histograms=collect(
            "<results>/statistics/{dataset}/force_histogram.csv", dataset=suite.datasets_in_use
        ),
        statistics=collect(
            "<results>/statistics/{dataset}/statistics.json", dataset=suite.datasets_in_use
        ),
    output:
        labels="<results>/tables/labels.csv.gz",
        histograms="<results>/tables/force_histogram.csv",
        statistics="<results>/tables/statistics.csv",
    log:
        "<results>/logs/tabulate_labels.log",
    resources:
        **asks("tabulate_labels"),
    params:
        code=code_digest("pesloss.evaluation.tables"),
        datasets=suite.datasets_in_use,
    script:
        "../scripts/tabulate_labels.py"


rule tabulate_runs:
    """Summarise all runs: errors of structures, of groups and of species, and signals."""
    input:
        receipts=ALL_RUNS,
        labels=collect("<results>/statistics/{dataset}/labels.csv", dataset=suite.datasets_in_use),
    output:
        runs="<results>/tables/runs.csv",
        groups="<results>/tables/group_errors.csv",
        species="<results>/tables/species_errors.csv",
        signal="<results>/tables/signal.csv",
        errors="<results>/tables/errors.csv.gz",
        history="<results>/tables/history.csv",
    log:
        "<results>/logs/tabulate_runs.log",
    resources:
        **asks("tabulate_runs"),
    params:
        code=code_digest("pesloss.evaluation.tables"),
        runs=folders(suite.runs),
    script:
        "../scripts/tabulate_runs.py"
