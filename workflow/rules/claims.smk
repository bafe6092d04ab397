rule decide_claims:
    """Measure the statistics of an ablation's claims and decide them."""
    input:
        labels=labels_of_ablation,
        receipts=runs_of_ablation,
        more=inputs_of_ablation,
    output:
        claims="<results>/claims/{ablation}.csv",
        left_out="<results>/claims/{ablation}.left_out.csv",
    log:
        "<results>/logs/decide_claims/{ablation}.log",
    resources:
        **asks("decide_claims"),
    params:
        code=code_digest("pesloss.claims.job"),
        statistics=statistics_of_ablation,
        ablation=lambda w: suite.ablations[w.ablation].settings(),
        datasets=lambda w: suite.datasets_of(w.ablation),
        runs=lambda w: folders(suite.runs_of(w.ablation)),
        n_resamples=suite.config.n_resamples,
    script:
        "../scripts/decide_claims.py"


rule collect_claims:
    """Join the verdicts of all ablations."""
    input:
        claims=collect("<results>/claims/{ablation}.csv", ablation=list(suite.ablations)),
        left_out=collect("<results>/claims/{ablation}.left_out.csv", ablation=list(suite.ablations)),
    output:
        claims=report(
            "<results>/tables/claims.csv", category="1 Verdicts", caption="../report/claims.rst"
        ),
        left_out=report("<results>/tables/left_out.csv", category="1 Verdicts"),
    log:
        "<results>/logs/collect_claims.log",
    resources:
        **asks("collect_claims"),
    params:
        code=code_digest("pesloss.claims.collect"),
    script:
        "../scripts/collect_claims.py"


rule check_controls:
    """Fail when a control does not come out as it must."""
    input:
        claims="<results>/tables/claims.csv",
    output:
        controls=report("<results>/tables/controls.csv", category="1 Verdicts"),
    log:
        "<results>/logs/check_controls.log",
    resources:
        **asks("check_controls"),
    params:
        code=code_digest("pesloss.claims.decide"),
    script:
        "../scripts/check_controls.py"


rule advise:
    """Decide which loss is better than others on each dataset, and at a weight of other data."""
    input:
        labels=collect(
            "<results>/statistics/{dataset}/{name}",
            dataset=sorted({run.dataset for run in suite.runs}),
            name=LABEL_FILES,
        ),
        receipts=ALL_RUNS,
    output:
        compared=report("<results>/tables/advice.csv", category="1 Verdicts"),
        carried=report("<results>/tables/carried_weight.csv", category="1 Verdicts"),
    log:
        "<results>/logs/advise.log",
    resources:
        **asks("advise"),
    params:
        code=code_digest("pesloss.claims.advice", "pesloss.claims.job"),
        runs=folders(suite.runs),
        n_resamples=suite.config.n_resamples,
    script:
        "../scripts/advise.py"
