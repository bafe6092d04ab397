rule draw_figure:
    """Draw one figure from tables alone."""
    input:
        tables=tables_of_figure,
    output:
        svg=report(
            "<results>/figures/{figure}.svg",
            category="Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
        png="<results>/figures/{figure}.png",
        csv="<results>/figures/{figure}.csv",
    log:
        "<results>/logs/draw_figure/{figure}.log",
    params:
        code=lambda w: code_digest(f"pesloss.figures.{w.figure}", "pesloss.drawing"),
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
    params:
        code=code_digest("pesloss.report"),
    script:
        "../scripts/write_verdicts.py"


rule tabulate_cost:
    """Add up time and peak memory of all jobs by rule."""
    input:
        "<results>/tables/controls.csv",
        "<results>/tables/verdicts.md",
        collect("<results>/figures/{figure}.csv", figure=FIGURES),
    output:
        cost=report("<results>/tables/cost.csv", category="Cost"),
    log:
        "<results>/logs/tabulate_cost.log",
    params:
        code=code_digest("pesloss.cost"),
    script:
        "../scripts/tabulate_cost.py"
