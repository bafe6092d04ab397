LINEAR = suite.datasets_needing("linear/{dataset}.csv")
LINEAR_DRAWN = suite.datasets_needing("linear/{dataset}.efficiency.csv")
LINEAR_CODE = code_digest(
    "pesloss.linear.job", "pesloss.losses.energy.standardized", "pesloss.losses.energy.correlated"
)


rule linear_features:
    """Sum the features of models at their initial weights over the atoms of each structure."""
    input:
        table="<results>/data/{dataset}/structures.csv",
        statistics="<results>/statistics/{dataset}/statistics.json",
        graphs=graphs_of_features,
    output:
        features="<results>/linear/{dataset}.features.npz",
    log:
        "<results>/logs/linear_features/{dataset}.log",
    resources:
        **asks("linear_features"),
    params:
        code=LINEAR_CODE,
        model=suite.models[LINEAR_MODEL].model_dump(),
        seed=lambda w: suite.datasets[w.dataset].seed,
    script:
        "../../scripts/linear_features.py"


rule fit_linear:
    """Fit a linear model exactly under every weighting, over many random halves."""
    input:
        features="<results>/linear/{dataset}.features.npz",
        table="<results>/data/{dataset}/structures.csv",
        statistics="<results>/statistics/{dataset}/statistics.json",
    output:
        fits="<results>/linear/{dataset}.csv",
    log:
        "<results>/logs/fit_linear/{dataset}.log",
    resources:
        **asks("fit_linear"),
    params:
        code=LINEAR_CODE,
        n_replicates=suite.config.n_linear_replicates,
        seed=lambda w: suite.datasets[w.dataset].seed,
    script:
        "../../scripts/fit_linear.py"


rule linear_efficiency:
    """Compare every weighting with the Gauss–Markov bound, where the covariance is known."""
    input:
        features="<results>/linear/{dataset}.features.npz",
        table="<results>/data/{dataset}/structures.csv",
        statistics="<results>/statistics/{dataset}/statistics.json",
    output:
        efficiency="<results>/linear/{dataset}.efficiency.csv",
    log:
        "<results>/logs/linear_efficiency/{dataset}.log",
    resources:
        **asks("linear_efficiency"),
    params:
        code=LINEAR_CODE,
        n_draws=suite.config.n_linear_draws,
        seed=lambda w: suite.datasets[w.dataset].seed,
    script:
        "../../scripts/linear_efficiency.py"


rule tabulate_linear:
    """Tabulate best exponents and what wrong ones cost, dataset by dataset."""
    input:
        fits=collect("<results>/linear/{dataset}.csv", dataset=LINEAR),
        efficiency=collect("<results>/linear/{dataset}.efficiency.csv", dataset=LINEAR_DRAWN),
    output:
        best="<results>/tables/best_exponent.csv",
        efficiency="<results>/tables/efficiency.csv",
    log:
        "<results>/logs/tabulate_linear.log",
    resources:
        **asks("tabulate_linear"),
    params:
        code=LINEAR_CODE,
    script:
        "../../scripts/tabulate_linear.py"
