rule fit_statistics:
    """Fit the moments of local energies and forces on the training split."""
    input:
        table="<results>/data/{dataset}/structures.csv",
        splits="<results>/data/{dataset}/splits.csv",
        structures=structures_of,
    output:
        statistics="<results>/statistics/{dataset}/statistics.json",
    log:
        "<results>/logs/fit_statistics/{dataset}.log",
    resources:
        **asks("fit_statistics"),
    params:
        code=code_digest("pesloss.statistics.fit", "pesloss.data.store"),
    script:
        "../scripts/fit_statistics.py"


rule standardize_labels:
    """Put energies and forces into standardised units."""
    input:
        table="<results>/data/{dataset}/structures.csv",
        splits="<results>/data/{dataset}/splits.csv",
        structures=structures_of,
        statistics="<results>/statistics/{dataset}/statistics.json",
    output:
        labels="<results>/statistics/{dataset}/labels.csv",
        force_labels="<results>/statistics/{dataset}/force_labels.csv",
        force_histogram="<results>/statistics/{dataset}/force_histogram.csv",
    log:
        "<results>/logs/standardize_labels/{dataset}.log",
    resources:
        **asks("standardize_labels"),
    params:
        code=code_digest("pesloss.statistics.labels", "pesloss.data.store"),
    script:
        "../scripts/standardize_labels.py"
