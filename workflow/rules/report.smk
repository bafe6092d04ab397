rule draw_figure:
    """Draw one figure from tables alone."""
    input:
        tables=tables_of_figure,
    output:
        svg=report(
            "<results>/figures/{figure}.svg",
            category="2 Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
        png="<results>/figures/{figure}.png",
        csv="<results>/figures/{figure}.csv",
    log:
        "<results>/logs/draw_figure/{figure}.log",
    resources:
        **asks("draw_figure"),
    params:
        code=lambda w: code_digest(f"pesloss.report.figures.{w.figure}", "pesloss.report.drawing"),
        shown=SHOWN,
        names=NAMES,
        caption=lambda w: suite.caption(w.figure),
    script:
        "../scripts/draw_figure.py"


rule write_verdicts:
    """Write the table of verdicts that the README shows."""
    input:
        claims="<results>/tables/claims.csv",
    output:
        verdicts="<results>/tables/verdicts.md",
    log:
        "<results>/logs/write_verdicts.log",
    resources:
        **asks("write_verdicts"),
    params:
        code=code_digest("pesloss.report.verdicts"),
        shown=SHOWN,
        names=NAMES,
    script:
        "../scripts/write_verdicts.py"


rule tabulate_cost:
    """Add up time and peak memory of all jobs by rule; collect their notes."""
    input:
        "<results>/tables/controls.csv",
        "<results>/tables/verdicts.md",
        "<results>/tables/guide.md",
        "<results>/tables/claim_cost.csv",
        collect("<results>/figures/{figure}.csv", figure=FIGURES),
    output:
        cost=report("<results>/tables/cost.csv", category="3 Cost"),
        notes=report("<results>/tables/notes.csv", category="4 Data"),
    log:
        "<results>/logs/tabulate_cost.log",
    resources:
        **asks("tabulate_cost"),
    params:
        code=code_digest("pesloss.report.cost", "pesloss.report.notes"),
    script:
        "../scripts/tabulate_cost.py"


rule tabulate_records:
    """Join the records of all runs; say what trainings cost by ablation and by dataset."""
    input:
        receipts=ALL_RUNS,
    output:
        records="<results>/tables/records.csv",
        claim_cost=report("<results>/tables/claim_cost.csv", category="3 Cost"),
        rates="<results>/tables/training_rates.csv",
    log:
        "<results>/logs/tabulate_records.log",
    resources:
        **asks("tabulate_records"),
    params:
        code=code_digest("pesloss.report.cost"),
        folders=folders(suite.runs),
        runs=runs_by_ablation(),
        claims=claims_by_ablation(),
    script:
        "../scripts/tabulate_records.py"


rule write_guide:
    """Write the page for practitioners: which loss, when, and how sure that is."""
    input:
        claims="<results>/tables/claims.csv",
        compared="<results>/tables/advice.csv",
        carried="<results>/tables/carried_weight.csv",
    output:
        guide=report("<results>/tables/guide.md", category="1 Verdicts"),
    log:
        "<results>/logs/write_guide.log",
    resources:
        **asks("write_guide"),
    params:
        code=code_digest("pesloss.report.guide"),
        shown=SHOWN,
        names=NAMES,
    script:
        "../scripts/write_guide.py"


rule write_report:
    """Write the report that opens offline, as a folder and as a ZIP."""
    input:
        tables=[f"<results>/tables/{name}" for name in REPORT_TABLES],
        figures=collect("<results>/figures/{figure}.svg", figure=FIGURES),
        numbers=collect("<results>/figures/{figure}.csv", figure=FIGURES),
        claims=collect("<results>/claims/{ablation}.csv", ablation=list(suite.ablations)),
        ablations=collect("config/ablations/{ablation}.yaml", ablation=list(suite.ablations)),
        datasets=collect("config/datasets/{dataset}.yaml", dataset=suite.datasets_in_use),
        pages=page_files(),
    output:
        folder=report(directory("<results>/report"), category="1 Verdicts", htmlindex="index.html"),
        archive="<results>/report.zip",
    log:
        "<results>/logs/write_report.log",
    resources:
        **asks("write_report"),
    params:
        code=code_digest("pesloss.report.page.write"),
        shown=SHOWN,
        names=NAMES,
        captions={figure: suite.caption(figure) for figure in FIGURES},
        runs=runs_by_ablation(),
        preset=suite.config.preset,
    script:
        "../scripts/write_report.py"
