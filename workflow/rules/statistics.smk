rule fit_statistics:
    """Fit the moments of local energies and forces on the training split."""
    input:
        table="<results>/data/{dataset}/structures.csv",
        splits="<results>/data/{dataset}/splits.csv",
        structures=structures_of,
        code=code_of("pesloss.statistics.fit", "pesloss.data.store"),
    output:
        statistics="<results>/statistics/{dataset}/statistics.json",
    log:
        "<results>/logs/fit_statistics/{dataset}.log",
    script:
        "../scripts/fit_statistics.py"


rule standardize_labels:
    """Put energies and forces into standardised units."""
    input:
        table="<results>/data/{dataset}/structures.csv",
        splits="<results>/data/{dataset}/splits.csv",
        structures=structures_of,
        statistics="<results>/statistics/{dataset}/statistics.json",
        code=code_of("pesloss.evaluation.labels", "pesloss.data.store"),
    output:
        labels="<results>/statistics/{dataset}/labels.csv",
        force_labels="<results>/statistics/{dataset}/force_labels.csv",
        force_histogram="<results>/statistics/{dataset}/force_histogram.csv",
    log:
        "<results>/logs/standardize_labels/{dataset}.log",
    script:
        "../scripts/standardize_labels.py"
