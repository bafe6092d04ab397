# Where the plan was made is where the files can be had: nodes of a cluster may have no internet.
localrules:
    read_dataset,


rule generate_part:
    """Generate one part of a dataset: its share of the families of structures."""
    output:
        structures="<results>/data/{dataset}/parts/{part}.extxyz",
        failures="<results>/data/{dataset}/parts/{part}.failures.csv",
    log:
        "<results>/logs/generate_part/{dataset}-{part}.log",
    resources:
        **asks("generate_part"),
    params:
        code=lambda w: code_digest("pesloss.data.generate", suite.kind(w.dataset)),
        dataset=settings_of_dataset,
        n_parts=suite.config.n_parts,
    script:
        "../scripts/generate_part.py"


rule collect_dataset:
    """Join the parts of a dataset with geometry."""
    input:
        structures=collect(
            "<results>/data/{{dataset}}/parts/{part}.extxyz", part=range(suite.config.n_parts)
        ),
        failures=collect(
            "<results>/data/{{dataset}}/parts/{part}.failures.csv",
            part=range(suite.config.n_parts),
        ),
    output:
        structures="<results>/data/{dataset}/structures.extxyz",
        table="<results>/data/{dataset}/structures.csv",
        failures="<results>/data/{dataset}/failures.csv",
    log:
        "<results>/logs/collect_dataset/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(suite.of_origin("generated")) or "none",
    resources:
        **asks("collect_dataset"),
    params:
        code=code_digest("pesloss.data.generate"),
        dataset=settings_of_dataset,
    script:
        "../scripts/collect_dataset.py"


rule draw_dataset:
    """Draw a dataset that has compositions and energies but no geometry."""
    output:
        table="<results>/data/{dataset}/structures.csv",
    log:
        "<results>/logs/draw_dataset/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(suite.of_origin("drawn")) or "none",
    resources:
        **asks("draw_dataset"),
    params:
        code=lambda w: code_digest("pesloss.data.generate", suite.kind(w.dataset)),
        dataset=settings_of_dataset,
    script:
        "../scripts/draw_dataset.py"


rule read_dataset:
    """Fetch the files of a dataset that was made elsewhere, read, check and choose."""
    input:
        files=lambda w: suite.own_files(w.dataset),
    output:
        structures="<results>/data/{dataset}/structures.extxyz",
        table="<results>/data/{dataset}/structures.csv",
        failures="<results>/data/{dataset}/failures.csv",
    log:
        "<results>/logs/read_dataset/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(suite.of_origin("files")) or "none",
    resources:
        **asks("read_dataset"),
    params:
        code=lambda w: code_digest("pesloss.data.external", *suite.readers(w.dataset)),
        dataset=settings_of_dataset,
    script:
        "../scripts/read_dataset.py"


rule take_subset:
    """Take a part of another dataset's structures."""
    input:
        structures=parent_of,
    output:
        structures="<results>/data/{dataset}/structures.extxyz",
        table="<results>/data/{dataset}/structures.csv",
        failures="<results>/data/{dataset}/failures.csv",
    log:
        "<results>/logs/take_subset/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(suite.of_origin("subset")) or "none",
    resources:
        **asks("take_subset"),
    params:
        code=code_digest("pesloss.data.kinds.subset", "pesloss.data.store", "pesloss.data.spec"),
        dataset=settings_of_dataset,
    script:
        "../scripts/take_subset.py"


rule split_dataset:
    """Deal the families of a dataset to training, validation and test, balanced in size."""
    input:
        table="<results>/data/{dataset}/structures.csv",
    output:
        splits="<results>/data/{dataset}/splits.csv",
    log:
        "<results>/logs/split_dataset/{dataset}.log",
    resources:
        **asks("split_dataset"),
    params:
        code=code_digest("pesloss.data.splits", "pesloss.data.generate"),
        fractions=suite.config.splits,
        seed=lambda w: suite.datasets[w.dataset].seed,
    script:
        "../scripts/split_dataset.py"


rule build_graphs:
    """Compute the neighbour lists of a dataset, once for all trainings."""
    input:
        structures="<results>/data/{dataset}/structures.extxyz",
    output:
        graphs="<results>/data/{dataset}/graphs-{cutoff}.npz",
    log:
        "<results>/logs/build_graphs/{dataset}-{cutoff}.log",
    resources:
        **asks("build_graphs"),
    params:
        code=code_digest("pesloss.data.graphs", "pesloss.data.store"),
    script:
        "../scripts/build_graphs.py"


rule tabulate_datasets:
    """Describe the datasets: sizes, species, what was left out."""
    input:
        tables=collect("<results>/data/{dataset}/structures.csv", dataset=suite.datasets_in_use),
        structures=collect(
            "<results>/data/{dataset}/structures.extxyz",
            dataset=[d for d in suite.datasets_in_use if suite.datasets[d].has_geometry()],
        ),
    output:
        datasets=report("<results>/tables/datasets.csv", category="4 Data"),
    log:
        "<results>/logs/tabulate_datasets.log",
    resources:
        **asks("tabulate_datasets"),
    params:
        code=code_digest("pesloss.data.overview"),
        described={d: suite.datasets[d].description for d in suite.datasets_in_use},
    script:
        "../scripts/tabulate_datasets.py"
