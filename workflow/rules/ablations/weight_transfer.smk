"""Best force weights of all runs that claims about their transfer are made of."""

TRANSFERS = suite.ablations_with("best_weight_spread", "weight_regret")
TRANSFER_RUNS = sorted({run for name in TRANSFERS for run in suite.runs_of(name)})


rule tabulate_weights:
    """Tabulate best force weights and what it costs to use them on other data."""
    input:
        labels=sorted(
            {
                f"<results>/statistics/{run.dataset}/{name}"
                for run in TRANSFER_RUNS
                for name in LABEL_FILES
            }
        ),
        receipts=receipts(TRANSFER_RUNS),
    output:
        weights=report("<results>/tables/weight_transfer.csv", category="Tables"),
        regrets=report("<results>/tables/regret.csv", category="Tables"),
    log:
        "<results>/logs/tabulate_weights.log",
    resources:
        **asks("tabulate_weights"),
    params:
        code=code_digest("pesloss.claims.weight_tables", "pesloss.claims.job"),
        runs=folders(TRANSFER_RUNS),
    script:
        "../../scripts/tabulate_weights.py"
